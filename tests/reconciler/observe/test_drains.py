"""Drains, and turns that hive ends."""

from __future__ import annotations

import asyncio

from meta.wire.link import Cancel, Drain, State, TurnState
from reconciler.observe.drains import Drains
from reconciler.observe.links import Links
from tests.support.link_peer import ALICE, connect


async def test_the_drain_of_a_launch_is_over_when_it_ends_and_only_a_new_launch_gets_another() -> None:
    links = Links(lambda _: None)
    drains = Drains(links)
    connect(links)
    assert not await drains.drain(ALICE, 0.01)
    for nonce in ("other", "n"):
        connect(links, nonce)
        assert links.view(ALICE).drain_over
    links.reset(ALICE)
    assert not links.view(ALICE).drain_over
    await links.close()


async def test_a_harness_that_says_drained_ends_the_drain_at_once() -> None:
    links = Links(lambda _: None)
    drains = Drains(links)
    peer = connect(links)
    draining = asyncio.create_task(drains.drain(ALICE, 30))
    async with asyncio.timeout(5):
        while not any(isinstance(line, Drain) for line in peer.sent):
            peer.told.clear()
            await peer.told.wait()
        links.state(ALICE, peer, State(state=TurnState.DRAINED))
        assert await draining
    assert links.draining(ALICE)
    await drains.resume(ALICE)
    assert not links.draining(ALICE)
    await links.close()


async def test_a_turn_that_hive_cancels_ends_or_goes_on() -> None:
    links = Links(lambda _: None)
    drains = Drains(links)
    assert not await drains.cancel_turn(ALICE, 0.01)
    peer = connect(links)
    links.state(ALICE, peer, State(state=TurnState.THINKING))
    assert not await drains.cancel_turn(ALICE, 0.01)
    assert Cancel() in peer.sent
    asyncio.get_running_loop().call_soon(links.state, ALICE, peer, State(state=TurnState.IDLE))
    assert await drains.cancel_turn(ALICE, 10)
    await links.close()


async def test_only_the_turn_that_is_meant_is_cancelled() -> None:
    links = Links(lambda _: None)
    drains = Drains(links)
    peer = connect(links)
    links.state(ALICE, peer, State(state=TurnState.THINKING, turn=3))
    asyncio.get_running_loop().call_soon(links.state, ALICE, peer, State(state=TurnState.THINKING, turn=4))
    assert await drains.cancel_turn(ALICE, 10, 3)
    assert Cancel(turn=3) in peer.sent
    await links.close()
