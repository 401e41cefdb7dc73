"""What a harness gives back of its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meta.errors import Conflict
from meta.names import AgentName
from meta.wire.link import Release, Released, State, TurnState
from reconciler.observe.links import Links
from reconciler.observe.releases import Releases
from reconciler.observe.sender import Sender
from tests.support.link_peer import ALICE, Peer, connect


async def test_a_harness_that_releases_its_turn_gets_an_answer_once_that_is_done() -> None:
    released: list[tuple[str, str, Sequence[int] | None]] = []

    async def release(agent: AgentName, nonce: str, only: Sequence[int] | None) -> None:
        released.append((agent, nonce, only))

    sender = Sender()
    links = Links(lambda _: None, sender=sender)
    releases = Releases(links, release, sender)
    peer = connect(links, "n7")
    links.state(ALICE, peer, State(state=TurnState.THINKING, turn=2))
    releases.take(ALICE, peer, Release(turn=1))
    releases.take(ALICE, peer, Release(turn=2, only=(4, 5)))
    releases.take(ALICE, peer, Release(turn=2))
    async with asyncio.timeout(5):
        while not {Released(turn=2), Released(turn=2, only=(4, 5))} <= {*peer.sent}:
            peer.told.clear()
            await peer.told.wait()
    assert released == [("alice", "n7", (4, 5)), ("alice", "n7", None)]
    assert Released(turn=1) not in peer.sent
    await links.close()


async def test_what_was_not_given_back_has_no_answer_until_it_was() -> None:
    tries = 0

    async def release(_agent: AgentName, _nonce: str, _only: Sequence[int] | None) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Conflict("1 of the messages to give back are still in flight")

    sender = Sender()
    links = Links(lambda _: None, sender=sender)
    releases = Releases(links, release, sender)
    peer = connect(links)
    links.state(ALICE, peer, State(state=TurnState.THINKING, turn=1))
    again = Release(turn=1, only=(4,))
    releases.take(ALICE, peer, again)
    async with asyncio.timeout(5):
        while not tries:
            await asyncio.sleep(0)
        assert Released(turn=1, only=(4,)) not in peer.sent
        while Released(turn=1, only=(4,)) not in peer.sent:
            releases.take(ALICE, peer, again)
            await asyncio.sleep(0)
    assert tries >= 2
    await links.close()


async def test_who_has_not_the_link_releases_nothing() -> None:
    released: list[str] = []

    async def release(_agent: AgentName, nonce: str, _only: Sequence[int] | None) -> None:
        released.append(nonce)

    sender = Sender()
    links = Links(lambda _: None, sender=sender)
    releases = Releases(links, release, sender)
    connect(links)
    releases.take(ALICE, Peer(), Release(turn=0))
    await links.close()
    assert released == []
