"""The loop with a scripted runtime: what follows from each ending, holds, drains, and what reaches the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from harness.runtimes.base import Compacted, CompactionFailed, Ending, Sink, Tokens, TurnOutcome, TurnRequest
from meta.agent_toml.settings import parse_settings
from meta.errors import BadInput, HiveError, TransientError
from meta.wire.agent import RequeueInflight, Status
from meta.wire.link import Cancel, Drain, Hold, Resume, TurnState, Verb
from meta.wire.live import Compaction, Note, StateChange, ToolCall, TurnEnd, TurnStart, Usage
from tests.harness.inside import Inside
from tests.support.scripted_runtime import OK, ScriptedRuntime, Step, ends, hangs

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness


@pytest.fixture
def inside(harness: Harness) -> Inside:
    return Inside(harness.run.parent)


def requeues(hive: FakeHive) -> int:
    """Requeues beside the one at boot."""
    return sum(isinstance(call, RequeueInflight) for call in hive.calls) - 1


async def test_a_good_turn_is_acknowledged_and_the_next_one_resumes_its_conversation(
    inside: Inside, hive: FakeHive
) -> None:
    await hive.post("operator", "first")
    await hive.post("bob", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    first, second = inside.runtime.requests
    assert (first.session, second.session) == (None, "s1")
    assert "first" in first.prompt
    assert "1 other message waits" in first.prompt
    assert "the agent bob" in second.prompt
    (start, _) = inside.events.of(TurnStart)
    assert (start.sender, start.body, start.unread, start.turn) == ("operator", "first", 1, 1)
    assert [end.ok for end in inside.events.of(TurnEnd)] == [True, True]


async def test_an_outage_of_six_turns_loses_nothing_and_counts_no_failed_turn(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.01)
    monkeypatch.setattr("harness.retry.LONGEST_DELAY", 0.02)
    inside.runtime.steps = [ends(Ending.PARKED, "the API is down")] * 6
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert len(inside.runtime.requests) == 7
    assert (hive.releases, requeues(hive)) == ([1, 2, 3, 4, 5, 6], 0)
    assert "may already be handled" in inside.runtime.requests[-1].prompt
    assert TurnState.PARKED in [state.state for state in hive.states]


async def test_a_limit_waits_until_the_time_that_the_cli_names(inside: Inside, hive: FakeHive) -> None:
    until = time.time() + 0.3
    inside.runtime.steps = [ends(Ending.PARKED, "your limit resets soon", until)]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert (hive.states[-1].until, hive.states[-1].reason) == (until, "your limit resets soon")
        assert hive.waiting == 1
        await hive.until(lambda: hive.acks == 1)
    assert time.time() >= until
    assert [change.state for change in inside.events.of(StateChange)] == [
        TurnState.IDLE,
        TurnState.THINKING,
        TurnState.PARKED,
        TurnState.IDLE,
        TurnState.THINKING,
        TurnState.IDLE,
    ]


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.CRASHED])
async def test_a_turn_that_fails_is_given_back_as_failed_and_the_next_message_has_its_turn(
    inside: Inside, hive: FakeHive, ending: Ending
) -> None:
    inside.runtime.steps = [ends(ending, "poison")] * 3
    await hive.post("operator", "poison")
    await hive.post("operator", "good")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert requeues(hive) == 3
    assert hive.releases == []
    assert [end.ending for end in inside.events.of(TurnEnd)] == [ending.value] * 3 + ["ok"]


async def test_an_older_hive_that_does_not_answer_a_release_gets_a_requeue(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.link.RELEASE_SECONDS", 0.05)
    hive.releasing = False
    inside.runtime.steps = [ends(Ending.PARKED, "down", time.time() + 3600)]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: requeues(hive) == 1)
        await hive.until(lambda: hive.turn is TurnState.PARKED)
    assert hive.waiting == 1


async def test_a_release_is_repeated_to_a_daemon_that_restarted(inside: Inside, hive: FakeHive) -> None:
    hive.releasing = False
    inside.runtime.steps = [ends(Ending.PARKED, "down", time.time() + 3600)]
    await hive.post("operator", "work")
    async with inside.start():
        await _poll(lambda: inside.events.of(TurnEnd))
        await hive.close()
        hive.releasing = True
        await hive.open()
        await hive.until(lambda: hive.turn is TurnState.PARKED)
    assert (hive.releases, requeues(hive)) == ([1], 0)


class Credentials:
    """A file that a login would write."""

    value = 0

    def mark(self) -> object:
        return self.value


async def test_a_login_that_appears_ends_the_wait_for_it(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.loop.LOGIN_LOOK_SECONDS", 0.01)
    credentials = inside.credentials = Credentials()
    inside.runtime.steps = [ends(Ending.NEEDS_LOGIN, "log in with `hive login alice`")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
        assert hive.waiting == 1
        credentials.value += 1
        await hive.until(lambda: hive.acks == 1)


async def test_a_pause_stops_the_turn_and_the_message_comes_again_after_it(inside: Inside, hive: FakeHive) -> None:
    async def until_interrupted(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await inside.runtime.interrupted.wait()
        return TurnOutcome(Ending.CANCELLED, "interrupted", session="s1")

    inside.runtime.steps = [until_interrupted]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.THINKING)
        await hive.order(Hold(paused=True, reason="lunch"))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert hive.states[-1].reason == "lunch"
        assert (hive.releases, hive.waiting, requeues(hive)) == ([1], 1, 0)
        await hive.order(Drain(deadline_seconds=9))
        await hive.until(lambda: hive.turn is TurnState.DRAINED)
        await hive.order(Resume())
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        await hive.order(Hold())
        await hive.until(lambda: hive.acks == 1)
    assert inside.runtime.requests[1].session == "s1"
    assert inside.runtime.closes == 1  # at the end


async def test_a_cli_that_ignores_the_interrupt_is_ended(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.turn.STOP_SECONDS", 0.05)
    inside.runtime.steps = [hangs]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.THINKING)
        await hive.order(Hold(paused=True))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert (inside.runtime.interrupts, inside.runtime.closes) == (1, 1)
        assert hive.releases == [1]


async def test_a_paused_agent_stays_paused_over_a_start_and_hives_word_ends_it(inside: Inside, hive: FakeHive) -> None:
    async with inside.start():
        await hive.order(Hold(paused=True))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: len(hive.hellos) == 2)
        assert hive.hellos[1].state is TurnState.PAUSED
        await hive.order(Hold())
        await hive.until(lambda: hive.acks == 1)


async def test_a_used_up_budget_lets_the_turn_end_and_keeps_the_next_one_back(inside: Inside, hive: FakeHive) -> None:
    async def until_held(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await hive.order(Hold(over_budget=True, until=4e9, reason="10 turns a day"))
        return await OK(request, sink)

    inside.runtime.steps = [until_held]
    await hive.post("operator", "work")
    await hive.post("operator", "more")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.OVER_BUDGET)
        assert (hive.acks, hive.waiting, len(inside.runtime.requests)) == (1, 1, 1)
        assert (hive.states[-1].until, hive.states[-1].reason) == (4e9, "10 turns a day")
        await hive.order(Hold())
        await hive.until(lambda: hive.acks == 2)


async def test_a_message_that_arrives_while_the_agent_is_held_is_given_back_unseen(
    inside: Inside, hive: FakeHive
) -> None:
    async with inside.start():
        await hive.until(lambda: hive.calls and hive.turn is TurnState.IDLE)
        await hive.order(Hold(paused=True))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        await hive.post("operator", "work")
        await hive.until(lambda: hive.releases)
        assert (hive.waiting, inside.runtime.requests) == (1, [])


async def test_the_operators_cancel_ends_the_turn_and_its_message_does_not_run_again(
    inside: Inside, hive: FakeHive
) -> None:
    async def until_interrupted(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await inside.runtime.interrupted.wait()
        return TurnOutcome(Ending.CANCELLED)

    inside.runtime.steps = [until_interrupted]
    await hive.post("operator", "work")
    async with inside.start():
        assert not (await hive.control(Verb.CANCEL)).ok
        await _poll(lambda: inside.runtime.requests)
        done = await hive.control(Verb.CANCEL)
        assert (done.ok, "counts as done" in done.text) == (True, True)
        assert (hive.acks, hive.waiting) == (1, 0)
    assert any("cancelled by the operator" in note.text for note in inside.events.of(Note))


async def test_the_cancel_of_hive_for_a_turn_over_its_limit_counts_as_before(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.steps = [hangs]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.THINKING)
        await hive.order(Cancel(turn=1))
        await hive.until(lambda: hive.acks == 1)
    assert (requeues(hive), hive.releases, inside.runtime.interrupts) == (1, [], 0)


async def test_a_cli_that_is_missing_parks_the_agent_until_it_is_there(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.loop.PROBLEM_SECONDS", 0.05)
    inside.runtime.problem = BadInput("claude is not installed", "add it to the container")
    inside.runtime.default_model = "small"
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert hive.states[-1].reason == "claude is not installed; add it to the container"
        assert hive.abouts[-1].problem == hive.states[-1].reason
        assert (hive.waiting, inside.runtime.requests) == (1, [])
        inside.runtime.problem = None
        await hive.until(lambda: hive.acks == 1)
        assert (hive.abouts[-1].program, hive.abouts[-1].problem) == ("1.2.3", "")
        assert (hive.abouts[-1].model, hive.abouts[-1].override) == ("small", "")


async def test_a_cli_that_was_mended_is_looked_for_at_once_when_the_operator_sets_the_model(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.problem = BadInput("claude is not installed", "add it to the container")
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        inside.runtime.problem = None
        assert (await hive.control(Verb.MODEL)).ok
        await hive.until(lambda: hive.acks == 1)
        assert (hive.abouts[-1].program, hive.abouts[-1].problem) == ("1.2.3", "")


async def test_a_cli_that_vanishes_later_costs_no_message_a_failed_turn(inside: Inside, hive: FakeHive) -> None:
    async def vanish(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        inside.runtime.problem = BadInput("claude is gone", "install it")
        return TurnOutcome(Ending.CRASHED, "it does not start")

    inside.runtime.steps = [vanish]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert (hive.states[-1].reason, hive.releases, requeues(hive)) == ("claude is gone; install it", [1], 0)


async def test_a_conversation_that_the_cli_lost_is_begun_anew_once(inside: Inside, hive: FakeHive) -> None:
    async def lost(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return TurnOutcome(Ending.CRASHED, "No conversation found with session ID: s1", session_lost=True)

    inside.runtime.steps = [OK, lost, ends(Ending.OK, session="s2")]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert [request.session for request in inside.runtime.requests] == [None, "s1", None]
    assert requeues(hive) == 0
    assert any("a new conversation begins" in note.text for note in inside.events.of(Note))


async def test_a_crash_keeps_the_conversation(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.steps = [OK, ends(Ending.CRASHED, "killed by signal 9", session="s1")]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1"]


async def test_the_conversation_is_resumed_by_the_next_harness(inside: Inside, hive: FakeHive) -> None:
    for count in (1, 2):
        await hive.post("operator", "work")
        async with inside.start():
            await hive.until(lambda count=count: hive.acks == count)  # type: ignore[misc]
    assert [request.session for request in inside.runtime.requests] == [None, "s1"]


async def test_the_first_turn_of_a_new_generation_says_what_changed_and_later_ones_do_not(
    inside: Inside, hive: FakeHive
) -> None:
    async def one_turn() -> str:
        acks = hive.acks
        await hive.post("operator", "work")
        async with inside.start():
            await hive.until(lambda: hive.acks == acks + 1)
        return inside.runtime.requests[-1].prompt

    assert "configuration changed" not in await one_turn()
    inside.settings, inside.generation = parse_settings(b'model = "opus"'), "g2"
    assert 'Your configuration changed:\n- model: the runtime\'s default -> "opus"' in await one_turn()
    assert "configuration changed" not in await one_turn()


async def test_too_long_a_conversation_is_compacted_once_and_the_turn_done_again(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.compacted = Compacted(200_000, 20_000, session="s2")
    inside.runtime.steps = [ends(Ending.OVERFLOW, "too long", session="s1")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert inside.runtime.compactions == ["s1"]
    assert inside.runtime.requests[1].session == "s2"
    (event,) = inside.events.of(Compaction)
    assert (event.trigger, event.tokens_before, event.tokens_after) == ("overflow", 200_000, 20_000)
    states = [state.state for state in hive.states if state.probe is None]
    assert states == [TurnState.THINKING, TurnState.COMPACTING, TurnState.THINKING, TurnState.IDLE]


async def test_what_is_too_long_even_then_is_a_failed_turn(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.compacted = Compacted()
    inside.runtime.steps = [ends(Ending.OVERFLOW, "too long", session="s1")] * 12
    await hive.post("operator", "huge")
    await hive.post("operator", "small")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert (requeues(hive), len(inside.runtime.compactions)) == (3, 3)


async def test_a_conversation_that_cannot_be_compacted_is_replaced_and_no_message_is_lost(
    inside: Inside, hive: FakeHive
) -> None:
    async def full(request: TurnRequest, _sink: Sink) -> TurnOutcome:
        ending = Ending.OVERFLOW if request.session == "s1" else Ending.OK
        return TurnOutcome(ending, "too long", session=request.session or "s2")

    inside.runtime.steps = [OK] + [full] * 20
    for body in ("zero", "one", "two", "three"):
        await hive.post("operator", body)
    async with inside.start():
        await hive.until(lambda: hive.acks == 4)
    assert (requeues(hive), hive.dead) == (0, [])
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1", None, "s2", "s2"]
    (event,) = inside.events.of(Compaction)
    assert (event.trigger, "new conversation" in event.note) == ("overflow", True)


@pytest.mark.parametrize("ending", [Ending.PARKED, Ending.NEEDS_LOGIN])
async def test_an_outage_in_the_compaction_keeps_the_conversation_and_counts_no_failed_turn(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    async def fail(_session: str | None, _sink: Sink) -> Compacted | None:
        raise CompactionFailed("scripted could not compact: overloaded", TurnOutcome(ending, "overloaded"))

    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.01)
    monkeypatch.setattr("harness.loop.LOGIN_LOOK_SECONDS", 0.01)
    monkeypatch.setattr("harness.loop.LOGIN_RETRY_SECONDS", 0.01)
    inside.runtime.compact = fail  # type: ignore[assignment, method-assign]
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1"), OK]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert requeues(hive) == 0
    assert inside.events.of(TurnEnd)[1].ending == ending
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1"]


async def test_an_outage_while_notes_are_written_keeps_the_conversation(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.01)
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1"), ends(Ending.PARKED, "down")]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert requeues(hive) == 0
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1", "s1"]


async def test_a_full_context_is_compacted_after_the_turn(inside: Inside, hive: FakeHive) -> None:
    async def fill(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return TurnOutcome(Ending.OK, session="s1", tokens=Tokens(context=170_000, window=200_000))

    inside.runtime.compacted = Compacted(170_000, 9_000)
    inside.runtime.steps = [fill]
    await hive.post("operator", "work")
    async with inside.start():
        await _poll(lambda: inside.runtime.compactions)
        assert hive.acks == 1
        await hive.until(lambda: hive.turn is TurnState.IDLE)
    assert [event.trigger for event in inside.events.of(Compaction)] == ["watermark"]


async def test_a_runtime_without_compaction_goes_on_from_the_agents_own_notes(inside: Inside, hive: FakeHive) -> None:
    async def write_notes(request: TurnRequest, _sink: Sink) -> TurnOutcome:
        assert "notes.md" in request.prompt
        (inside.base / "state" / "notes.md").write_text("the test is fixed")
        return TurnOutcome(Ending.OK, session="s1")

    inside.runtime.capabilities = replace(inside.runtime.capabilities, compact=False)
    inside.runtime.steps = [ends(Ending.OVERFLOW, "too long", session="s1"), write_notes, OK]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    _, asked, again = inside.runtime.requests
    assert (asked.session, again.session) == ("s1", None)
    assert "the test is fixed" in again.prompt
    (event,) = inside.events.of(Compaction)
    assert "its notes" in event.note


@pytest.mark.parametrize(
    "error",
    [
        CompactionFailed("could not compact", TurnOutcome(Ending.PARKED, "overloaded")),
        CompactionFailed("could not compact", TurnOutcome(Ending.REFUSED, "overloaded")),
        TransientError("overloaded"),
    ],
)
async def test_a_compaction_that_failed_is_an_error_for_the_operator(
    inside: Inside, hive: FakeHive, error: HiveError
) -> None:
    async def fail(_session: str | None, _sink: Sink) -> Compacted | None:
        raise error

    async with inside.start():
        await hive.post("bob", "hello")
        await hive.until(lambda: hive.acks == 1)
        inside.runtime.compact = fail  # type: ignore[assignment, method-assign]
        done = await hive.control(Verb.COMPACT)
    assert (done.ok, done.text) == (False, "the conversation is not compacted: overloaded; try again later")


async def test_the_operator_compacts_begins_anew_and_sets_the_model(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.compacted = Compacted(100, 10)
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.COMPACT)).text == "compacted: 100 -> 10 tokens"
        assert (await hive.control(Verb.MODEL, "opus")).ok
        assert (hive.abouts[-1].model, hive.abouts[-1].override) == ("opus", "opus")
        wrong = await hive.control(Verb.MODEL, "no such\nmodel")
        assert (wrong.ok, "not a name of a model" in wrong.text) == (False, True)
        assert (await hive.control(Verb.NEW_SESSION)).ok
        assert not (await hive.control(Verb.LOGIN)).ok
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)
    assert (inside.runtime.requests[1].session, inside.runtime.requests[1].model) == (None, "opus")
    assert (inside.base / "state" / "hyperhive-model").read_text() == "opus\n"


async def test_a_new_conversation_that_is_asked_for_in_a_turn_begins_after_it(inside: Inside, hive: FakeHive) -> None:
    go = asyncio.Event()

    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await go.wait()
        return await OK(request, sink)

    inside.runtime.steps = [OK, wait]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await _poll(lambda: len(inside.runtime.requests) == 2)
        assert "after the turn" in (await hive.control(Verb.NEW_SESSION)).text
        go.set()
        await hive.until(lambda: hive.acks == 2)
        await _poll(lambda: inside.runtime.closes)
        await hive.post("operator", "third")
        await hive.until(lambda: hive.acks == 3)
    assert [request.session for request in inside.runtime.requests] == [None, "s1", None]


@pytest.mark.parametrize(
    ("order", "last"),
    [
        (Drain(deadline_seconds=5), TurnState.DRAINED),
        (Hold(over_budget=True), TurnState.OVER_BUDGET),
        (Hold(paused=True), TurnState.PAUSED),
    ],
)
async def test_a_compaction_that_waits_for_the_turn_does_not_begin_in_a_drain_or_a_hold(
    inside: Inside, hive: FakeHive, order: Drain | Hold, last: TurnState
) -> None:
    go = asyncio.Event()

    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await go.wait()
        return await OK(request, sink)

    inside.runtime.steps = [OK, wait]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start() as gate:
        await _poll(lambda: len(inside.runtime.requests) == 2)
        assert "after the turn" in (await hive.control(Verb.COMPACT)).text
        await hive.order(order)
        await _poll(lambda: gate.draining or gate.held)
        go.set()
        await _poll(lambda: any("asked for failed" in note.text for note in inside.events.of(Note)))
        await hive.until(lambda: hive.turn is last)
    states = [state.state for state in hive.states if state.probe is None]
    assert (inside.runtime.compactions, TurnState.COMPACTING in states, states[-1]) == ([], False, last)


@pytest.mark.parametrize("hold", [Hold(paused=True), Hold(over_budget=True)])
async def test_an_agent_that_may_call_no_model_is_not_compacted_but_may_begin_anew(
    inside: Inside, hive: FakeHive, hold: Hold
) -> None:
    await hive.post("operator", "work")
    async with inside.start() as gate:
        await hive.until(lambda: hive.acks == 1)
        await hive.order(hold)
        await _poll(lambda: gate.held)
        assert not (await hive.control(Verb.COMPACT)).ok
        assert (await hive.control(Verb.NEW_SESSION)).ok
    assert inside.runtime.compactions == []


async def test_a_drain_that_meets_a_compaction_is_answered_after_it(inside: Inside, hive: FakeHive) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def compact(_session: str | None, _sink: Sink) -> Compacted | None:
        begun.set()
        await go.wait()
        return Compacted(10, 5, "s1")

    inside.runtime.compact = compact  # type: ignore[assignment, method-assign]
    await hive.post("operator", "work")
    async with inside.start() as gate:
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        compacting = asyncio.create_task(hive.control(Verb.COMPACT))
        await begun.wait()
        for order in (Drain(deadline_seconds=5), Resume(), Drain(deadline_seconds=5)):
            await hive.order(order)
        await _poll(lambda: gate.draining)
        go.set()
        await hive.until(lambda: hive.turn is TurnState.DRAINED)
        assert (await compacting).ok


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
        await _poll(lambda: listening.runtime.injected)
        return await OK(request, sink)

    listening.runtime.steps = [wait]
    await hive.post("operator", "first")
    async with listening.start():
        await _poll(lambda: listening.runtime.requests)
        await hive.post("bob", "by the way")
        await _poll(lambda: listening.runtime.injected)
        await hive.until(lambda: hive.acks == 1)
    (text,) = listening.runtime.injected
    assert "by the way" in text
    assert "the agent bob" in text
    assert (len(listening.runtime.requests), hive.waiting) == (1, 0)


async def test_a_message_that_the_model_did_not_get_has_a_turn_before_anything_is_acknowledged(
    listening: Inside, hive: FakeHive
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await _poll(lambda: listening.runtime.injected)
        return await OK(request, sink)

    listening.runtime.takes = False
    listening.runtime.steps = [wait, hangs]
    await hive.post("operator", "first")
    async with listening.start():
        await _poll(lambda: listening.runtime.requests)
        await hive.post("bob", "too late")
        await _poll(lambda: len(listening.runtime.requests) == 2)
        assert "too late" in listening.runtime.requests[1].prompt
        assert hive.acks == 0
        await hive.order(Hold(paused=True))
        listening.runtime.steps = []
        await hive.order(Cancel())
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert hive.waiting == 2


async def test_a_message_that_the_model_may_not_have_seen_has_a_turn_with_a_hint_before_the_acknowledgement(
    listening: Inside, hive: FakeHive
) -> None:
    async def forget(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await _poll(lambda: listening.runtime.injected)
        return replace(await OK(request, sink), unseen=tuple(listening.runtime.injected))

    async def check(request: TurnRequest, sink: Sink) -> TurnOutcome:
        assert hive.acks == 0
        return await OK(request, sink)

    listening.runtime.steps = [forget, check]
    await hive.post("operator", "first")
    async with listening.start():
        await _poll(lambda: listening.runtime.requests)
        await hive.post("bob", "forgotten")
        await hive.until(lambda: hive.acks == 1)
    _, again = listening.runtime.requests
    assert ("forgotten" in again.prompt, "may already be handled" in again.prompt) == (True, True)
    assert (hive.waiting, hive.acked) == (0, [1, 2])


async def test_a_turn_that_is_done_again_after_a_compaction_says_that_it_may_be_handled(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.compacted = Compacted(10, 5, "s1")
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1")]
    await hive.post("operator", "zero")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "first")
        await hive.until(lambda: hive.acks == 2)
    assert ["may already be handled" in request.prompt for request in inside.runtime.requests] == [False, False, True]


async def test_a_message_that_reached_a_conversation_that_was_too_long_has_a_turn_of_its_own(
    listening: Inside, hive: FakeHive
) -> None:
    async def overflow(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await _poll(lambda: listening.runtime.injected)
        return TurnOutcome(Ending.OVERFLOW, "too long", session="s1")

    listening.runtime.compacted = Compacted(10, 5, "s1")
    listening.runtime.steps = [OK, overflow]
    await hive.post("operator", "zero")
    async with listening.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "first")
        await _poll(lambda: len(listening.runtime.requests) == 2)
        await hive.post("bob", "in between")
        await hive.until(lambda: hive.acks == 2)
    assert ["in between" in request.prompt for request in listening.runtime.requests] == [False, False, False, True]


@pytest.mark.parametrize(
    ("hold", "order"),
    [(Hold(over_budget=True), ["first", "late"]), (Hold(paused=True), ["first"])],
)
async def test_the_end_of_the_budget_does_not_undo_a_turn_that_owes_another_one_and_a_pause_does(
    listening: Inside, hive: FakeHive, hold: Hold, order: list[str]
) -> None:
    async def spend(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await _poll(lambda: listening.runtime.injected)
        await hive.order(hold)
        await _poll(lambda: gate.held)
        return await OK(request, sink)

    listening.runtime.takes = False
    listening.runtime.steps = [spend]
    await hive.post("operator", "first")
    async with listening.start() as gate:
        await _poll(lambda: listening.runtime.requests)
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
            await _poll(lambda: self.injected)
            await hive.control(Verb.CANCEL)
            return Compacted(10, 5, session)

    steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1")]
    listening.runtime = Compacting(steps, capabilities=listening.runtime.capabilities)
    await hive.post("operator", "zero")
    async with listening.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "first")
        await hive.until(lambda: hive.acks == 2)
    assert [request.message.body for request in listening.runtime.requests] == ["zero", "first", "in between"]


async def test_a_broken_connection_while_messages_are_looked_for_acknowledges_nothing_unseen(
    listening: Inside, hive: FakeHive
) -> None:
    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await _poll(lambda: hive.broken)
        return await OK(request, sink)

    listening.runtime.steps = [wait]
    await hive.post("operator", "first")
    async with listening.start():
        await _poll(lambda: listening.runtime.requests)
        hive.breaking = True
        await hive.post("bob", "lost on the way")
        await hive.until(lambda: hive.releases)
        acks = hive.acks
        await _poll(lambda: {"first", "lost on the way"} <= _seen(listening.runtime, 1))
        await hive.until(lambda: hive.acks > acks and hive.waiting == 0)
    assert (acks, hive.releases, listening.runtime.requests[0].message.body) == (0, [1], "first")


async def test_the_end_of_the_harness_does_not_wait_for_an_answer_of_hive(listening: Inside, hive: FakeHive) -> None:
    listening.runtime.steps = [hangs]
    await hive.post("operator", "first")
    async with asyncio.timeout(10), listening.start():
        await _poll(lambda: listening.runtime.requests)
        hive.mute = True
        await _poll(lambda: isinstance(hive.calls[-1], Status))
        began = time.monotonic()
    assert time.monotonic() - began < 1


def _seen(runtime: ScriptedRuntime, since: int) -> set[str]:
    """Return the lines of all prompts from this turn on, and of what was injected."""
    texts = [request.prompt for request in runtime.requests[since:]] + runtime.injected
    return {line for text in texts for line in text.splitlines()}


async def test_the_statistics_of_a_turn_say_what_it_used(inside: Inside, hive: FakeHive) -> None:
    async def work(_request: TurnRequest, sink: Sink) -> TurnOutcome:
        sink.line([ToolCall(id="1", name="Bash"), ToolCall(id="2", name="Bash")], {"any": "line"})
        sink.line([ToolCall(id="3", name="Read")], "text")
        tokens = Tokens(input=10, output=20, cached=5, cost_dollars=0.5)
        return TurnOutcome(Ending.OK, session="s1", tokens=tokens, model="haiku-4")

    inside.runtime.steps = [work]
    await hive.post("bob", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    (usage,) = inside.events.of(Usage)
    assert usage.tools == {"Bash": 2, "Read": 1}
    assert (usage.runtime, usage.model, usage.source, usage.ending) == ("scripted", "haiku-4", "bob", "ok")
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cost_dollars) == (10, 20, 5, 0.5)


def _costs(ending: Ending, input: int, dollars: float, tool: str) -> Step:
    async def step(_request: TurnRequest, sink: Sink) -> TurnOutcome:
        sink.line([ToolCall(id=tool, name=tool)], {})
        return TurnOutcome(ending, "too long", session="s1", tokens=Tokens(input, 5, None, dollars))

    return step


async def test_a_turn_costs_what_its_attempts_and_the_compaction_between_them_cost(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.compacted = Compacted(200_000, 20_000, "s1", tokens=Tokens(200_000, 100, None, 2.0))
    inside.runtime.steps = [_costs(Ending.OVERFLOW, 1_000_000, 9.0, "Bash"), _costs(Ending.OK, 10, 0.5, "Read")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    (usage,) = inside.events.of(Usage)
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (1_200_010, 110, None)
    assert (usage.cost_dollars, usage.tools) == (11.5, {"Bash": 1, "Read": 1})


async def test_a_compaction_that_the_operator_asks_for_is_in_the_statistics(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.compacted = Compacted(200_000, 20_000, "s1", tokens=Tokens(200_000, 100, None, 2.0))
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.COMPACT)).ok
    (_, usage) = inside.events.of(Usage)
    assert (usage.source, usage.input_tokens, usage.cost_dollars) == ("compaction", 200_000, 2.0)


async def test_a_compaction_that_fails_is_in_the_statistics_of_the_turn(inside: Inside, hive: FakeHive) -> None:
    async def fail(_session: str | None, _sink: Sink) -> Compacted | None:
        outcome = TurnOutcome(Ending.OVERFLOW, "too long", tokens=Tokens(7, 1))
        raise CompactionFailed("scripted could not compact", outcome)

    inside.runtime.compact = fail  # type: ignore[assignment, method-assign]
    notes = _costs(Ending.OK, 100, 1.0, "Write")
    inside.runtime.steps = [_costs(Ending.OVERFLOW, 1000, 9.0, "Bash"), notes, _costs(Ending.OK, 10, 0.5, "Read")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    (usage,) = inside.events.of(Usage)
    assert (usage.input_tokens, usage.cost_dollars) == (1117, 10.5)


async def test_a_state_directory_that_is_missing_ends_nothing(inside: Inside, hive: FakeHive, base: Path) -> None:
    (base / "state").write_text("no directory")
    inside.base = base
    await hive.post("operator", "work")
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
        assert "a warning" in (await hive.control(Verb.MODEL, "opus")).text
    assert [request.session for request in inside.runtime.requests] == [None, "s1"]


async def _poll(what: Callable[[], object]) -> None:
    """Wait for something that FakeHive does not see."""
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.005)


async def test_an_agent_without_a_login_takes_no_message_until_it_has_one(inside: Inside, hive: FakeHive) -> None:
    async with inside.start():
        await hive.until(lambda: hive.calls)
        inside.set_login("there is no login")
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
        await hive.post("operator", "work")
        await hive.until(lambda: hive.releases)
        assert (hive.waiting, inside.runtime.requests) == (1, [])
        inside.set_login(None)
        await hive.until(lambda: hive.acks == 1)


async def test_a_login_that_is_lost_in_a_turn_counts_after_it(inside: Inside, hive: FakeHive) -> None:
    async def lose(request: TurnRequest, sink: Sink) -> TurnOutcome:
        inside.set_login("there is no login")
        return await OK(request, sink)

    inside.runtime.steps = [lose]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
    assert hive.acks == 1
