"""What a destroyed agent left: counted and measured, until it comes back or is purged."""

from __future__ import annotations

from meta.names import AgentName
from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")


async def test_a_destroyed_agent_is_listed_with_what_it_keeps_until_it_is_purged(daemon: Daemon) -> None:
    service = daemon.service
    assert await service.remains() == []
    await service.broker.send("operator", ALICE, "read me later")
    home = daemon.world.layout.agent_home(ALICE)
    (home / "notes").write_bytes(b"x" * 300_000)
    await service.agents.destroy(ALICE, "test")
    assert await service.loop.settled(ALICE, 30)
    (left,) = await service.remains()
    assert (left.agent, left.messages, left.deployed, left.purging) == (ALICE, 1, 0, False)
    assert left.generations == 1 and left.at is not None
    while left.home_bytes is None:  # `du` of a busy host may take longer than an answer waits
        (left,) = await service.remains()
    assert left.home_bytes >= 300_000
    await service.agents.destroy(ALICE, "test", purge=True)
    assert await service.loop.settled(ALICE, 30)
    assert await service.remains() == []


async def test_an_agent_that_came_back_left_nothing(daemon: Daemon) -> None:
    await daemon.service.agents.destroy(ALICE, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    await daemon.service.spawns.begin(ALICE, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    assert await daemon.service.remains() == []
