"""The commands about turns, over a whole daemon without a real container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meta.errors import DiskFull
from meta.names import AgentName
from meta.wire.link import Control, Done, DownLine, Hello

if TYPE_CHECKING:
    from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")


class Peer:
    """A harness that obeys nothing."""

    async def send(self, line: DownLine) -> None:
        pass


class Compacting:
    """A harness that answers each control. `changed`: it has compacted the conversation."""

    def __init__(self, daemon: Daemon, *, changed: bool) -> None:
        self.daemon = daemon
        self.changed = changed

    async def send(self, line: DownLine) -> None:
        if isinstance(line, Control):
            done = Done(id=line.id, ok=True, text="an answer", changed=self.changed)
            self.daemon.service.links.done(ALICE, self, done)


@pytest.mark.parametrize("changed", [True, False])
async def test_a_compaction_is_an_event_once_it_is_done(daemon: Daemon, changed: bool) -> None:
    links, peer = daemon.service.links, Compacting(daemon, changed=changed)
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce=links.view(ALICE).nonce or "n"))
    assert (await daemon.service.turns.compact(ALICE, "op")).text == "an answer"
    appended = [event.kind for event in await daemon.service.events.since(None)]
    assert ("session_compacted" in appended) is changed


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
