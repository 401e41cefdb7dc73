"""Links: what a harness says, and what it cannot talk itself out of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meta.errors import DiskFull, TransientError
from meta.names import AgentName, GenerationId
from meta.wire.link import Closed, Follow, Hello, PodInfo, Pods, Probe, State, TurnState
from reconciler.observe.drains import Drains
from reconciler.observe.links import ASK_AGAIN_SECONDS, Links
from reconciler.observe.live import Live, LiveLine
from reconciler.plan.observed import Launch
from reconciler.store.live import LiveStore
from tests.support.link_peer import ALICE, Peer, connect


async def test_a_hello_is_probed_and_the_answer_counts() -> None:
    links = Links(lambda _: None)
    peer = connect(links)
    async with asyncio.timeout(5):
        while len(peer.sent) < 2:
            peer.told.clear()
            await peer.told.wait()
    assert isinstance(peer.sent[1], Probe)
    assert not links.view(ALICE).answered
    links.state(ALICE, peer, State(state=TurnState.IDLE, probe=peer.sent[1].probe))
    assert links.view(ALICE).answered
    await links.close()


async def test_how_full_the_context_is_comes_with_a_state_and_with_a_hello_and_goes_with_the_link() -> None:
    links = Links(lambda _: None)
    peer = connect(links)
    links.state(ALICE, peer, State(state=TurnState.IDLE, context=9, window=20))
    assert (links.view(ALICE).context, links.view(ALICE).window) == (9, 20)
    links.lost(ALICE, peer)
    assert (links.view(ALICE).context, links.view(ALICE).window) == (None, None)
    back = Peer()
    links.connected(ALICE, back)
    links.hello(ALICE, back, Hello(generation="g", nonce="n", context=9, window=20))
    assert (links.view(ALICE).context, links.view(ALICE).window) == (9, 20)
    await links.close()


async def test_a_second_connection_replaces_the_first_whose_words_no_longer_count() -> None:
    links = Links(lambda _: None)
    first = connect(links)
    connect(links)
    links.state(ALICE, first, State(state=TurnState.THINKING))
    links.lost(ALICE, first)
    assert links.view(ALICE).connected
    assert links.view(ALICE).turn is TurnState.IDLE
    await links.close()


async def test_a_peer_without_a_hello_changes_nothing_for_the_harness() -> None:
    links = Links(lambda _: None)
    harness = connect(links)
    links.state(ALICE, harness, State(state=TurnState.THINKING, probe=1))
    before = links.view(ALICE)
    for _ in range(5):
        stray = Peer()
        links.connected(ALICE, stray)
        links.state(ALICE, stray, State(state=TurnState.DRAINED))
        links.lost(ALICE, stray)
    assert links.view(ALICE) == before
    await links.close()


async def test_the_replaced_peer_is_told_why_and_gets_the_link_back_with_its_next_hello() -> None:
    links = Links(lambda _: None)
    harness = connect(links)
    stray = connect(links)
    async with asyncio.timeout(5):
        while not any(isinstance(line, Closed) for line in harness.sent):
            harness.told.clear()
            await harness.told.wait()
    back = connect(links)
    links.lost(ALICE, harness)
    links.lost(ALICE, stray)
    links.state(ALICE, back, State(state=TurnState.THINKING))
    view = links.view(ALICE)
    assert (view.connected, view.turn, view.losses) == (True, TurnState.THINKING, 0)
    await links.close()


async def test_a_peer_that_says_hello_as_another_launch_is_sent_away() -> None:
    links = Links(lambda _: None)
    connect(links)
    stray = connect(links, "made-up")
    async with asyncio.timeout(5):
        await stray.told.wait()
    assert [type(line) for line in stray.sent] == [Closed]
    assert links.view(ALICE).nonce == "n"
    await links.close()


async def test_connections_without_a_hello_do_not_count_as_flapping() -> None:
    links = Links(lambda _: None)
    for _ in range(5):
        stray = Peer()
        links.connected(ALICE, stray)
        links.lost(ALICE, stray)
    assert links.view(ALICE).losses == 0


async def test_a_hint_goes_out_only_when_something_changed() -> None:
    hints: list[AgentName] = []
    links = Links(hints.append)
    peer = connect(links)
    before = len(hints)
    for _ in range(5):
        links.state(ALICE, peer, State(state=TurnState.IDLE))
    assert len(hints) == before
    await links.close()


async def test_whoever_says_hello_acks_its_messages_and_a_database_that_fails_does_not_end_the_link() -> None:
    told: list[AgentName] = []
    done = asyncio.Event()

    async def acks(agent: AgentName) -> None:
        told.append(agent)
        done.set()
        raise TransientError("the disk is full")

    links = Links(lambda _: None, acks=acks)
    links.legacy(ALICE)
    connect(links)
    async with asyncio.timeout(5):
        await done.wait()
    assert told == [ALICE]
    await links.close()
    assert links.view(ALICE).connected


async def test_a_simulated_harness_is_healthy_at_once() -> None:
    links = Links(lambda _: None)
    links.simulate(ALICE, Launch(GenerationId("0" * 20), "f", "n", 1.0))
    view = links.view(ALICE)
    assert view.connected
    assert view.answered
    assert await Drains(links).drain(ALICE, 1)


async def test_the_age_of_a_turn_goes_on_over_a_broken_connection_and_ends_with_the_turn() -> None:
    now = 100.0
    links = Links(lambda _: None, clock=lambda: now)
    peer = connect(links)
    assert links.view(ALICE).turn_since is None
    links.state(ALICE, peer, State(state=TurnState.THINKING))
    now = 110.0
    links.state(ALICE, peer, State(state=TurnState.COMPACTING))
    links.lost(ALICE, peer)
    peer = Peer()
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce="n", state=TurnState.THINKING))
    assert links.view(ALICE).turn_since == 100.0
    links.state(ALICE, peer, State(state=TurnState.IDLE))
    assert links.view(ALICE).turn_since is None
    await links.close()


async def test_after_a_restart_of_the_daemon_the_harness_says_how_old_its_turn_is() -> None:
    links = Links(lambda _: None, clock=lambda: 100.0)
    peer = Peer()
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce="n", state=TurnState.THINKING, seconds=40.0))
    assert links.view(ALICE).turn_since == 60.0
    await links.close()


def test_the_first_ack_of_a_launch_is_a_change_and_later_ones_are_none() -> None:
    hints: list[AgentName] = []
    links = Links(hints.append)
    links.acked(ALICE)
    links.connected(ALICE, Peer())
    hints.clear()
    for _ in range(3):
        links.acked(ALICE)
    assert (hints, links.view(ALICE).acked) == ([ALICE], True)
    links.reset(ALICE)
    assert not links.view(ALICE).acked


async def test_an_agent_waits_for_a_person_as_long_as_its_harness_reports_that() -> None:
    links = Links(lambda _: None)
    peer = connect(links)
    for person in (True, False, True):
        links.state(ALICE, peer, State(state=TurnState.PARKED, person=person))
        assert links.view(ALICE).person is person
    links.lost(ALICE, peer)
    assert not links.view(ALICE).person
    again = Peer()
    links.hello(ALICE, again, Hello(generation="g", nonce="n", state=TurnState.PARKED, person=True))
    assert links.view(ALICE).person
    await links.close()


@pytest.mark.looptime
async def test_events_that_could_not_be_recorded_are_asked_for_again_until_they_are(tmp_path: Path) -> None:
    full = True

    async def record(*_: object) -> None:
        if full:
            raise DiskFull("full")

    live = Live(LiveStore(tmp_path / "live.sqlite"), record)
    links = Links(lambda _: None, live=live)
    peer = Peer()
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce="n", log="log1", last=9))
    usage = LiveLine(7, 1, {"kind": "usage"}, '{"kind":"usage"}')
    for _ in range(3):
        await links.event(ALICE, peer, usage)
    await asyncio.sleep(2 * ASK_AGAIN_SECONDS)
    assert [line for line in peer.sent if isinstance(line, Follow)] == [Follow(after=0)] * 2  # once since the hello
    full = False
    await links.event(ALICE, peer, usage)
    await asyncio.sleep(2 * ASK_AGAIN_SECONDS)
    assert len([line for line in peer.sent if isinstance(line, Follow)]) == 2
    assert [row.id for row in await live.newest(ALICE, 9)] == [7]
    await links.close()
    await live.close()


@pytest.mark.looptime
async def test_the_pause_before_events_are_asked_for_again_grows_until_they_are_recorded(tmp_path: Path) -> None:
    full = True

    async def record(*_: object) -> None:
        if full:
            raise DiskFull("full")

    live = Live(LiveStore(tmp_path / "live.sqlite"), record)
    links = Links(lambda _: None, live=live)
    peer = Peer()
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce="n", log="log1", last=9))

    async def send_usage(id: int) -> None:
        await links.event(ALICE, peer, LiveLine(id, 1, {"kind": "usage"}, '{"kind":"usage"}'))

    async def pause(id: int) -> int:
        """Send a usage that cannot be recorded. Return the seconds until hive asks for it again."""
        begun, before = asyncio.get_running_loop().time(), len(peer.sent)
        await send_usage(id)
        while not any(isinstance(line, Follow) for line in peer.sent[before:]):
            peer.told.clear()
            await peer.told.wait()
        return round(asyncio.get_running_loop().time() - begun)

    async with asyncio.timeout(600):
        await peer.told.wait()
        assert [await pause(7) for _ in range(7)] == [5, 10, 20, 40, 80, 120, 120]
        full = False
        await send_usage(7)
        full = True
        assert await pause(8) == 5
    await links.close()
    await live.close()


async def test_the_pods_that_a_harness_names_are_a_tree_in_one_line_each_and_go_with_the_link() -> None:
    links = Links(lambda _: None)
    peer = connect(links)
    told = (
        PodInfo(name="alice", state="running", scope="a\n\x1b[2Jb", turn=3),
        PodInfo(name="child", parent="alice", state="<b>"),
        PodInfo(name="child", parent="alice", state="idle"),
        PodInfo(name="", parent="alice", state="idle"),
        PodInfo(name="orphan", parent="nobody", state="idle"),
        PodInfo(name="self", parent="self", state="idle"),
        PodInfo(name="second-root", state="idle"),
        PodInfo(name="grandchild", parent="child", state="waiting", result="???"),
    )
    links.pods(ALICE, Peer(), Pods(pods=told))
    assert links.view(ALICE).pods == ()
    links.pods(ALICE, peer, Pods(pods=told))
    assert [(pod.name, pod.parent, pod.state, pod.result) for pod in links.view(ALICE).pods] == [
        ("alice", "", "running", ""),
        ("child", "alice", "unknown", ""),
        ("grandchild", "child", "waiting", "unknown"),
    ]
    assert "\n" not in links.view(ALICE).pods[0].scope
    assert "\x1b" not in links.view(ALICE).pods[0].scope
    links.lost(ALICE, peer)
    assert links.view(ALICE).pods == ()
    await links.close()
