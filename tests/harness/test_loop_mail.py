"""The loop: messages that arrive during a turn."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from harness.runtimes.base import Compacted, Ending, Sink, TurnOutcome, TurnRequest
from meta.wire.agent import Status
from meta.wire.link import Cancel, DownLine, Drain, Hold, TurnState, Verb
from meta.wire.live import TurnEnd
from tests.harness.inside import Inside, poll
from tests.support.scripted_runtime import OK, ScriptedRuntime, Step, ends, hangs

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


@pytest.fixture
def listening(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A runtime that takes messages within a turn."""
    monkeypatch.setattr("harness.mail.LOOK_SECONDS", 0.01)
    inside.runtime.capabilities = replace(inside.runtime.capabilities, inject=True)
    return inside


async def test_what_arrives_during_a_turn_reaches_the_model_in_it_and_has_the_same_ack(
    listening: Inside, hive: FakeHive
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return await OK(request, sink)

    listening.runtime.steps = [wait]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        await hive.post("bob", "by the way")
        await poll(lambda: listening.runtime.injected)
        await hive.until(lambda: hive.acks == 1)
    (text,) = listening.runtime.injected
    assert "by the way" in text
    assert "the agent bob" in text
    assert (len(listening.runtime.requests), hive.waiting) == (1, 0)


@pytest.mark.parametrize(
    "late_turn", [ends(Ending.PARKED, "down", time.time() + 3600), ends(Ending.CRASHED, "poison"), hangs]
)
async def test_what_becomes_of_a_message_that_the_model_did_not_get_changes_nothing_for_the_turn_that_is_done(
    listening: Inside, hive: FakeHive, late_turn: Step
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return await OK(request, sink)

    listening.runtime.takes = False
    listening.runtime.steps = [wait, late_turn]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        late = await hive.post("bob", "too late")
        await poll(lambda: len(listening.runtime.requests) >= 2)
    assert (hive.acked[:1], hive.given_back[:1]) == ([1], [(late,)])
    again = listening.runtime.requests[1]
    assert (again.message.body, "may already be handled" in again.prompt) == ("too late", False)


async def test_only_what_the_model_may_have_seen_says_so_after_a_parked_turn(listening: Inside, hive: FakeHive) -> None:
    async def park(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return TurnOutcome(Ending.PARKED, "down", time.time() + 0.1)

    listening.runtime.takes = False
    listening.runtime.steps = [park]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        await hive.post("bob", "too late")
        await hive.until(lambda: hive.acked == [1, 2])
    _, *again = listening.runtime.requests
    hints = {request.message.body: "may already be handled" in request.prompt for request in again}
    assert hints == {"first": True, "too late": False}


async def test_a_message_that_came_too_late_first_and_reached_the_model_then_says_so_when_it_comes_again(
    listening: Inside, hive: FakeHive
) -> None:
    runtime = listening.runtime

    async def miss(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await poll(lambda: runtime.injected)
        runtime.takes = True
        return TurnOutcome(Ending.PARKED, "down", time.time() + 0.1)

    async def break_off(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await poll(lambda: len(runtime.injected) == 2)
        return TurnOutcome(Ending.PARKED, "down", time.time() + 0.1)

    runtime.takes = False
    runtime.steps = [miss, break_off]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: runtime.requests)
        await hive.post("bob", "too late")
        await hive.until(lambda: hive.acked == [1, 2])
    *_, again = runtime.requests
    assert (again.message.body, "may already be handled" in again.prompt) == ("too late", True)
    assert "may already be handled" not in runtime.injected[1]


async def test_a_hive_that_restarts_as_an_older_one_does_not_get_the_whole_turn_back_instead_of_a_late_message(
    listening: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return await OK(request, sink)

    monkeypatch.setattr("harness.link.RELEASE_SECONDS", 0.05)
    hive.releasing = listening.runtime.takes = False
    listening.runtime.steps = [wait]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        await hive.post("bob", "too late")
        await hive.until(lambda: hive.ignored)
        await hive.close()
        hive.hold, hive.releasing = None, True
        await hive.open()
        await hive.until(lambda: hive.acked == [1, 2])
    assert [request.message.body for request in listening.runtime.requests] == ["first", "too late"]
    assert hive.given_back == []


async def test_an_older_hive_acknowledges_nothing_before_the_turn_of_a_message_that_the_model_did_not_get(
    listening: Inside, hive: FakeHive
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return await OK(request, sink)

    hive.hold = None
    listening.runtime.takes = False
    listening.runtime.steps = [wait, hangs]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        await hive.post("bob", "too late")
        await poll(lambda: len(listening.runtime.requests) == 2)
        assert "too late" in listening.runtime.requests[1].prompt
        assert hive.acks == 0
        await hive.order(Hold(paused=True))
        listening.runtime.steps = []
        await hive.order(Cancel())
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert hive.waiting == 2


@pytest.mark.parametrize("hold", [Hold(releases=True), None])
async def test_a_message_that_the_model_may_not_have_seen_has_a_turn_with_a_hint(
    listening: Inside, hive: FakeHive, hold: Hold | None
) -> None:
    async def forget(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return replace(await OK(request, sink), unseen=tuple(listening.runtime.injected))

    async def check(request: TurnRequest, sink: Sink) -> TurnOutcome:
        assert hive.acked == ([] if hold is None else [1])
        return await OK(request, sink)

    hive.hold = hold
    listening.runtime.steps = [forget, check]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        await hive.post("bob", "forgotten")
        await hive.until(lambda: len(hive.acked) == 2)
    _, again = listening.runtime.requests
    assert ("forgotten" in again.prompt, "may already be handled" in again.prompt) == (True, True)
    assert (hive.waiting, hive.acked) == (0, [1, 2])


async def test_a_message_that_reached_a_conversation_that_was_too_long_has_a_turn_of_its_own(
    listening: Inside, hive: FakeHive
) -> None:
    async def overflow(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        return TurnOutcome(Ending.OVERFLOW, "too long", session="s1")

    listening.runtime.compacted = Compacted(10, 5, "s1")
    listening.runtime.steps = [OK, overflow]
    await hive.post("operator", "zero")
    async with listening.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "first")
        await poll(lambda: len(listening.runtime.requests) == 2)
        await hive.post("bob", "in between")
        await hive.until(lambda: len(hive.acked) == 3)
    assert ["in between" in request.prompt for request in listening.runtime.requests] == [False, False, False, True]


@pytest.mark.parametrize("order", [Hold(over_budget=True), Hold(paused=True), Drain(deadline_seconds=5)])
async def test_what_keeps_the_next_turn_back_does_not_undo_the_one_that_is_done(
    listening: Inside, hive: FakeHive, order: DownLine
) -> None:
    async def spend(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        await hive.order(order)
        await poll(lambda: gate.held or gate.draining)
        return await OK(request, sink)

    listening.runtime.takes = False
    listening.runtime.steps = [spend]
    await hive.post("operator", "first")
    async with listening.start() as gate:
        await poll(lambda: listening.runtime.requests)
        late = await hive.post("bob", "late")
        await hive.until(lambda: hive.acks)
        await hive.until(lambda: hive.turn not in (TurnState.IDLE, TurnState.THINKING))
    assert [request.message.body for request in listening.runtime.requests] == ["first"]
    assert (hive.acked, hive.given_back, hive.waiting) == ([1], [(late,)], 1)


@pytest.mark.parametrize(
    ("hold", "order"),
    [(Hold(over_budget=True), ["first", "late"]), (Hold(paused=True), ["first"])],
)
async def test_with_an_older_hive_the_end_of_the_budget_does_not_undo_a_turn_that_owes_another_one_and_a_pause_does(
    listening: Inside, hive: FakeHive, hold: Hold, order: list[str]
) -> None:
    hive.hold = None

    async def spend(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: listening.runtime.injected)
        await hive.order(hold)
        await poll(lambda: gate.held)
        return await OK(request, sink)

    listening.runtime.takes = False
    listening.runtime.steps = [spend]
    await hive.post("operator", "first")
    async with listening.start() as gate:
        await poll(lambda: listening.runtime.requests)
        await hive.post("bob", "late")
        await hive.until(lambda: hive.acks or hive.releases)
    assert [request.message.body for request in listening.runtime.requests] == order
    assert hive.acked == ([1, 2] if hold.over_budget else [])


async def test_a_cancel_in_a_compaction_does_not_discard_what_was_injected_into_it(
    listening: Inside, hive: FakeHive
) -> None:
    class Compacting(ScriptedRuntime):
        @override
        async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
            await hive.post("bob", "in between")
            await poll(lambda: self.injected)
            await hive.control(Verb.CANCEL)
            return Compacted(10, 5, session)

    steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1")]
    listening.runtime = Compacting(steps, capabilities=listening.runtime.capabilities)
    await hive.post("operator", "zero")
    async with listening.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "first")
        await hive.until(lambda: len(hive.acked) == 3)
    assert [request.message.body for request in listening.runtime.requests] == ["zero", "first", "in between"]


async def test_a_broken_connection_while_messages_are_looked_for_acknowledges_nothing_unseen(
    listening: Inside, hive: FakeHive
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await poll(lambda: hive.broken)
        return await OK(request, sink)

    listening.runtime.steps = [wait]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.runtime.requests)
        hive.breaking = True
        await hive.post("bob", "lost on the way")
        await hive.until(lambda: hive.releases)
        acks = hive.acks
        await poll(lambda: {"first", "lost on the way"} <= _seen(listening.runtime, 1))
        await hive.until(lambda: hive.acks > acks and hive.waiting == 0)
    assert (acks, hive.releases, listening.runtime.requests[0].message.body) == (0, [1], "first")


async def test_the_end_of_a_turn_does_not_wait_for_a_daemon_that_went_away_while_messages_are_looked_for(
    listening: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(request: TurnRequest, sink: Sink) -> TurnOutcome:
        hive.mute = True
        await poll(lambda: isinstance(hive.calls[-1], Status))
        await hive.close()
        return await OK(request, sink)

    monkeypatch.setattr("harness.inbox.CONNECT_SECONDS", 0.05)
    monkeypatch.setattr("harness.inbox.UNREAD_SECONDS", 0.05)
    listening.runtime.steps = [leave]
    await hive.post("operator", "first")
    async with listening.start():
        await poll(lambda: listening.events.of(TurnEnd))
        hive.mute = False
        await hive.open()
        await hive.until(lambda: hive.acked == [1])


async def test_the_end_of_the_harness_does_not_wait_for_an_answer_of_hive(listening: Inside, hive: FakeHive) -> None:
    listening.runtime.steps = [hangs]
    await hive.post("operator", "first")
    async with asyncio.timeout(10), listening.start():
        await poll(lambda: listening.runtime.requests)
        hive.mute = True
        await poll(lambda: isinstance(hive.calls[-1], Status))
        began = time.monotonic()
    assert time.monotonic() - began < 1


def _seen(runtime: ScriptedRuntime, since: int) -> set[str]:
    """Return the lines of all prompts from this turn on, and of what was injected."""
    texts = [request.prompt for request in runtime.requests[since:]] + runtime.injected
    return {line for text in texts for line in text.splitlines()}
