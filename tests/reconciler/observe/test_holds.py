"""What keeps agents from turns: the pause and the budget, merged, and sent whole to the harness."""

from __future__ import annotations

import asyncio

import pytest

from meta.names import AgentName
from meta.wire.link import DownLine, Hello, Hold, Probe, State, TurnState
from reconciler.observe.drains import Drains
from reconciler.observe.holds import FREE, Holds
from reconciler.observe.links import Links

ALICE = AgentName("alice")
PAUSED = Hold(paused=True, reason="paused by the operator", releases=True)


class Peer:
    """Collects what is sent down."""

    def __init__(self) -> None:
        self.sent: list[DownLine] = []
        self.got = asyncio.Event()

    async def send(self, line: DownLine) -> None:
        self.sent.append(line)
        self.got.set()

    async def received(self, count: int) -> list[DownLine]:
        async with asyncio.timeout(5):
            while len(self.sent) < count:
                self.got.clear()
                await self.got.wait()
        return self.sent


class Will:
    """The operator's will about alice, and the links that send it."""

    def __init__(self) -> None:
        self.paused = False
        self.now = 100.0
        self.interrupted: list[AgentName] = []
        self.hints: list[AgentName] = []
        self.holds = Holds(lambda _: self.paused, lambda: self.now, lambda agent: self.links.send_hold(agent))
        self.links = Links(self.hints.append, self.interrupted.append, clock=lambda: self.now, holds=self.holds)
        self.drains = Drains(self.links)

    def connect(self, peer: Peer, state: TurnState = TurnState.IDLE) -> Peer:
        self.links.connected(ALICE, peer)
        self.links.hello(ALICE, peer, Hello(generation="g", nonce="n", state=state))
        return peer


@pytest.mark.parametrize("paused", [False, True])
async def test_the_hold_is_the_first_line_after_each_hello_so_no_message_is_taken_before_it(paused: bool) -> None:
    will = Will()
    will.paused = paused
    for _ in range(2):
        peer = will.connect(Peer())
        first, second = await peer.received(2)
        assert first == (PAUSED if paused else FREE)
        assert isinstance(second, Probe)
    await will.links.close()


async def test_a_change_is_sent_once_and_whole_and_ends_the_recv_that_waits() -> None:
    will = Will()
    peer = will.connect(Peer())
    will.paused = True
    for _ in range(3):
        will.links.send_hold(ALICE)
    assert (await peer.received(3))[2:] == [PAUSED]
    assert will.interrupted == [ALICE]
    will.holds.set_over_budget(ALICE, 200.0, "10 of 10 turns\nof today")
    will.paused = False
    will.links.send_hold(ALICE)
    over = Hold(over_budget=True, until=200.0, reason="10 of 10 turns of today", releases=True)
    assert (await peer.received(5))[3:] == [over.model_copy(update={"paused": True}), over]
    will.holds.clear_over_budget(ALICE)
    assert (await peer.received(6))[5] == FREE
    await will.links.close()


async def test_a_hold_without_a_harness_is_noted_once_and_sent_with_the_hello() -> None:
    will = Will()
    peer = Peer()
    will.links.connected(ALICE, peer)
    will.links.lost(ALICE, peer)
    will.hints.clear()
    will.paused = True
    for _ in range(3):
        will.links.send_hold(ALICE)
    assert will.hints == [ALICE]
    assert (await will.connect(Peer()).received(2))[0] == PAUSED
    await will.links.close()


async def test_a_budget_ends_by_itself_at_its_time() -> None:
    will = Will()
    will.holds.set_over_budget(ALICE, 200.0, "used up")
    assert will.links.held(ALICE)
    will.now = 200.0
    assert not will.links.held(ALICE)
    assert will.holds.of(ALICE) == FREE


async def test_a_destroyed_agent_leaves_no_budget_to_the_next_one_of_its_name() -> None:
    will = Will()
    will.holds.set_over_budget(ALICE, None, "used up")
    will.links.forget(ALICE)
    assert not will.links.held(ALICE)


async def test_who_waits_until_the_agent_is_free_goes_on_with_the_resume_or_with_a_drain() -> None:
    will = Will()
    peer = will.connect(Peer())
    will.paused = True
    will.links.send_hold(ALICE)
    assert not await will.links.wait_until_free(ALICE, 0)
    waiting = asyncio.create_task(will.links.wait_until_free(ALICE, 30))
    await peer.received(3)
    will.paused = False
    will.links.send_hold(ALICE)
    async with asyncio.timeout(5):
        assert await waiting
    await will.links.close()


async def test_a_paused_agent_counts_as_drained() -> None:
    will = Will()
    peer = will.connect(Peer())
    will.links.state(ALICE, peer, State(state=TurnState.PAUSED))
    async with asyncio.timeout(5):
        assert await will.drains.drain(ALICE, 30)
    await will.links.close()


async def test_the_end_of_a_turn_is_waited_for() -> None:
    will = Will()
    peer = will.connect(Peer(), TurnState.THINKING)
    assert not await will.drains.wait_between_turns(ALICE, 0)
    asyncio.get_running_loop().call_soon(will.links.state, ALICE, peer, State(state=TurnState.PAUSED))
    assert await will.drains.wait_between_turns(ALICE, 10)
    await will.links.close()
