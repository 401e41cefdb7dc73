"""Crashes and stuck turns of an agent on backend `fake`, with a real loop, broker and database."""

from __future__ import annotations

from typing import cast

import pytest

from meta.names import AgentName
from meta.wire.link import Cancel, Closed, DownLine, Hello, State, TurnState
from reconciler.backends.fake import FakeBackend
from reconciler.daemon.daemon import Daemon
from reconciler.plan import steps
from reconciler.plan.observed import Transient

ALICE = AgentName("alice")
OVER = 4_000.0
"""Seconds: more than the default of limits.turn_seconds and the grace."""


class Peer:
    """A harness that ends its turn when hive asks, or whose connection breaks."""

    def __init__(self, daemon: Daemon, *, obeys: bool) -> None:
        self._links = daemon.service.links
        self._obeys = obeys
        self.cancels = 0

    async def send(self, line: DownLine) -> None:
        assert not isinstance(line, Closed)
        if isinstance(line, Cancel):
            self.cancels += 1
            if self._obeys:
                self._links.state(ALICE, self, State(state=TurnState.IDLE))
            else:
                self._links.lost(ALICE, self)

    def connect(self, seconds: float) -> None:
        """Connect in the middle of a turn that has taken `seconds`."""
        view = self._links.view(ALICE)
        assert view.generation is not None
        assert view.nonce is not None
        self._links.connected(ALICE, self)
        hello = Hello(generation=view.generation, nonce=view.nonce, state=TurnState.THINKING, seconds=seconds)
        self._links.hello(ALICE, self, hello)


def launch(daemon: Daemon) -> str:
    found = daemon.world.observer.observe(ALICE).container.launch
    assert found is not None
    return found.nonce


async def take(daemon: Daemon) -> None:
    """Take the message as the harness of the present launch does."""
    await daemon.service.broker.requeue_inflight(ALICE, launch(daemon))
    assert await daemon.service.broker.recv(ALICE, 0, launch(daemon)) is not None


async def kinds(daemon: Daemon) -> list[str]:
    events = daemon.service.events
    database = (await events.last()).rpartition("-")[0]
    return [event.kind for event in await events.since(f"{database}-0", 1_000)]


async def test_three_crashes_with_one_message_put_it_aside_and_excuse_the_crashes(daemon: Daemon) -> None:
    backend = cast("FakeBackend", daemon.world.observer._backend)  # nothing outside makes a container crash
    await daemon.service.broker.send("operator", ALICE, "poison")
    for number in range(1, 4):
        await take(daemon)
        backend.crash(ALICE, code=3)
        await daemon.service.loop.reconcile(ALICE)
        memo = daemon.world.memory.get(ALICE)
        assert (memo.crashes, memo.own_crashes) == ((number, number) if number < 3 else (3, 0))
        await daemon.world.memory.change(ALICE, start_after=0.0)
        await daemon.service.loop.reconcile(ALICE)
    assert [letter.body for letter in await daemon.service.broker.dead_letters()] == ["poison"]
    assert (await kinds(daemon)).count("message_dead") == 1
    assert (await daemon.service.status()).agents[0].phase == "running"


async def test_an_agent_that_dies_of_every_message_is_given_up_and_the_rest_of_its_inbox_waits(daemon: Daemon) -> None:
    backend, broker = cast("FakeBackend", daemon.world.observer._backend), daemon.service.broker
    for number in range(8):
        await broker.send("operator", ALICE, f"innocent {number}")
    for _ in range(8):  # three for the first message, then the crash limit of five
        await take(daemon)
        backend.crash(ALICE, code=3)
        await daemon.service.loop.reconcile(ALICE)
        await daemon.world.memory.change(ALICE, start_after=0.0)
        await daemon.service.loop.reconcile(ALICE)
    assert (await daemon.service.status()).agents[0].phase == "failed"
    letters = await broker.dead_letters()
    assert len(letters) <= 2
    assert await broker.unread(ALICE) == 8 - len(letters)


@pytest.mark.parametrize("obeys", [True, False])
async def test_a_turn_over_its_limit_ends_over_the_link_or_with_the_container(daemon: Daemon, obeys: bool) -> None:
    before = launch(daemon)
    await daemon.service.broker.send("operator", ALICE, "never ends")
    await take(daemon)
    peer = Peer(daemon, obeys=obeys)
    peer.connect(OVER)
    (row,) = [row for row in (await daemon.service.status()).agents if row.agent == ALICE]
    assert (row.turn, row.turn_limit) == ("thinking", 3_600.0)
    assert row.turn_since is not None
    assert any(line.startswith("stuck: ") for line in row.conditions)
    await daemon.service.loop.reconcile(ALICE)
    assert peer.cancels == 1
    assert (launch(daemon) == before) is obeys
    assert "turn_stuck" in await kinds(daemon)
    if not obeys:
        assert await daemon.service.broker.unread(ALICE) == 1, "it waits again, with an attempt"
    assert daemon.world.memory.get(ALICE).crashes == 0


async def test_a_turn_that_began_after_the_plan_is_not_ended_for_the_one_before(daemon: Daemon) -> None:
    before, peer = launch(daemon), Peer(daemon, obeys=True)
    peer.connect(0.0)
    daemon.service.links.state(ALICE, peer, State(state=TurnState.THINKING, turn=7))
    steps_of_containers = daemon.service.loop._apply._containers  # between a plan and its step nothing can be put
    await steps_of_containers(ALICE, steps.Stop(Transient.STUCK, before, 6))
    assert (peer.cancels, launch(daemon)) == (0, before)
    assert daemon.service.links.view(ALICE).turn_number == 7
    assert "turn_stuck" not in await kinds(daemon)
