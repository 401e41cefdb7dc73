"""The commands about turns, over a whole daemon without a real container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meta.errors import DiskFull
from meta.names import AgentName
from meta.wire.link import DownLine, Hello

if TYPE_CHECKING:
    from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")


class Peer:
    """A harness that obeys nothing."""

    async def send(self, line: DownLine) -> None:
        pass


async def test_a_pause_that_is_in_force_is_no_error_on_a_full_disk(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append(*_: object) -> None:
        raise DiskFull("the disk is full")

    monkeypatch.setattr(type(daemon.world.events), "append", append)
    assert (await daemon.service.turns.pause(ALICE, "op")).text == "it takes no turn until `hive turn resume alice`"
    assert daemon.world.holds.of(ALICE).paused
    await daemon.service.turns.resume(ALICE, "op")
    assert not daemon.service.links.held(ALICE)


async def test_a_pause_of_an_agent_whose_harness_is_not_connected_says_so(daemon: Daemon) -> None:
    links, peer = daemon.service.links, Peer()
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce=links.view(ALICE).nonce or "n"))
    links.lost(ALICE, peer)
    assert (await daemon.service.turns.pause(ALICE, "op")).text.startswith("its harness is not connected")
