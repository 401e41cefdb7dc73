"""Whose result is it, and when is a turn over: the state machine of a turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.runtimes.base import Ending
from harness.runtimes.claude.exchange import Exchange, Meter
from harness.runtimes.claude.facts import Answer, ApiError, Context, Fact, Init, Lifecycle, RateLimit, Result
from harness.runtimes.claude.outcome import believable, judge_end, reset_time

OK = Result(is_error=False, text="done")
FAILED = Result(is_error=True, status=529, text="Overloaded")
ABORTED = Result(is_error=True, subtype="error_during_execution", reason="aborted_streaming")
NOW = 1_795_225_000.0


def exchange(*facts: Fact, added: str = "", interrupted: bool = False) -> Exchange:
    made = Exchange("mine", Meter(0.0))
    if added:
        made.add(added, f"text of {added}")
    if interrupted:
        made.interrupt()
    for fact in facts:
        made.take(fact)
    return made


def mine(state: str) -> Lifecycle:
    return Lifecycle("mine", state)


def late(state: str) -> Lifecycle:
    return Lifecycle("late", state)


def test_the_first_result_after_the_message_was_started_ends_the_turn() -> None:
    made = exchange(mine("queued"), mine("started"), Init("s", "m"), OK)
    assert made.finished
    assert made.outcome(NOW, None, "").ending is Ending.OK


def test_a_result_before_the_message_was_started_is_of_another_turn() -> None:
    made = exchange(mine("queued"), FAILED, mine("started"))
    assert not made.answered
    made.take(OK)
    assert made.outcome(NOW, None, "").ok


def test_a_cli_that_says_nothing_about_messages_ends_the_turn_by_its_first_result() -> None:
    assert exchange(Init("s", "m"), OK).finished


def test_a_text_that_was_taken_within_the_turn_needs_no_result_of_its_own() -> None:
    assert exchange(mine("started"), late("queued"), late("started"), late("completed"), OK, added="late").finished


def test_a_text_that_came_too_late_keeps_the_turn_open_until_its_own_result() -> None:
    made = exchange(mine("started"), late("queued"), OK, mine("completed"), added="late")
    assert (made.finished, made.idle, made.pending) == (False, True, True)
    made.take(late("started"))
    assert (made.finished, made.idle) == (False, False)
    made.take(OK)
    assert (made.finished, made.pending) == (True, False)


def test_a_late_text_that_the_cli_drops_ends_the_wait() -> None:
    assert exchange(mine("started"), late("queued"), OK, late("cancelled"), added="late").finished


@pytest.mark.parametrize(
    "facts",
    [
        [OK],
        [late("queued"), OK],
        [late("queued"), OK, late("started")],
        [late("queued"), OK, late("cancelled")],
        [late("cancelled"), OK],
    ],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_text_that_the_cli_was_not_done_with_is_unseen(facts: list[Fact], interrupted: bool) -> None:
    made = exchange(mine("started"), *facts, added="late", interrupted=interrupted)
    outcome = made.outcome(NOW, -9, "")
    assert (outcome.ending, outcome.unseen) == (Ending.OK, ("text of late",))


@pytest.mark.parametrize(
    "facts",
    [
        [late("queued"), late("started"), late("completed"), OK],
        [late("queued"), OK, late("started"), OK],
    ],
)
def test_a_text_whose_result_came_was_seen(facts: list[Fact]) -> None:
    assert exchange(mine("started"), *facts, added="late").outcome(NOW, None, "").unseen == ()


def test_a_failure_of_either_result_is_that_of_the_turn() -> None:
    for first, second in ((FAILED, OK), (OK, FAILED)):
        made = exchange(mine("started"), first, late("started"), second, added="late")
        assert made.outcome(NOW, None, "").ending is Ending.PARKED


def test_an_interrupted_turn_does_not_wait_for_a_late_text() -> None:
    made = exchange(mine("started"), late("queued"), ABORTED, added="late", interrupted=True)
    assert (made.finished, made.pending) == (True, True)
    assert made.outcome(NOW, None, "").ending is Ending.CANCELLED


def test_a_turn_that_ended_well_before_the_interrupt_is_done() -> None:
    assert exchange(mine("started"), OK, interrupted=True).outcome(NOW, None, "").ok


def test_an_abort_that_nobody_asked_for_is_a_failed_turn() -> None:
    assert exchange(mine("started"), ABORTED).outcome(NOW, None, "").ending is Ending.CRASHED


def test_a_limit_is_remembered_for_the_turns_after_it_and_forgotten_once_it_is_lifted() -> None:
    meter, limit = Meter(0.0), Result(is_error=True, status=429, text="limit")
    untils = []
    turns: list[list[Fact]] = [[RateLimit(True, NOW + 60), limit], [limit], [RateLimit(False, NOW + 60), limit]]
    for facts in turns:
        made = Exchange("mine", meter)
        for fact in facts:
            made.take(fact)
        untils.append(made.outcome(NOW, None, "").until)
    assert untils == [NOW + 60, NOW + 60, None]


def test_a_turn_without_a_result_has_no_known_cost() -> None:
    tokens = exchange(mine("started")).outcome(NOW, -9, "").tokens
    assert (tokens.input, tokens.output, tokens.cost_dollars) == (None, None, None)


def test_the_window_is_that_of_the_model_of_the_turn_and_not_of_a_subagents() -> None:
    made = exchange(Init("s", "small"), Result(is_error=False, windows={"large": 1_000_000, "small": 200_000}))
    assert made.outcome(NOW, None, "").tokens.window == 200_000


@pytest.mark.parametrize(
    ("result", "error", "ending"),
    [
        (Result(is_error=True, text="Not logged in · Please run /login"), "", Ending.NEEDS_LOGIN),
        (Result(is_error=True, text="Failed to authenticate: OAuth session expired"), "", Ending.NEEDS_LOGIN),
        (Result(is_error=True, status=403, text="forbidden"), "", Ending.NEEDS_LOGIN),
        (Result(is_error=True, status=400, text="Your credit balance is too low"), "billing_error", Ending.PARKED),
        (Result(is_error=True, status=413, text="too large"), "", Ending.OVERFLOW),
        (Result(is_error=True, status=422, text="no"), "", Ending.REFUSED),
        (Result(is_error=True, status=500, text="no"), "server_error", Ending.PARKED),
        (Result(is_error=True, reason="api_error", text="Request timed out."), "unknown", Ending.PARKED),
        (Result(is_error=True), "", Ending.PARKED),
    ],
)
def test_a_failed_request_has_the_ending_of_its_status(result: Result, error: str, ending: Ending) -> None:
    made = exchange(mine("started"), ApiError(error), Answer("x", ""), result)
    assert made.outcome(NOW, None, "").ending is ending


def test_a_refused_login_has_the_apis_words_also_without_the_remedy() -> None:
    outcome = exchange(mine("started"), Result(is_error=True, status=403, text="forbidden")).outcome(NOW, None, "")
    assert (outcome.reason, outcome.refusal) == ("forbidden: `hive login AGENT`", "forbidden")


@pytest.mark.parametrize(
    ("status", "error", "person"),
    [(404, "model_not_found", True), (402, "billing_error", True), (429, "rate_limit", False), (500, "", False)],
)
def test_a_wrong_model_and_an_account_without_credit_wait_for_a_person(status: int, error: str, person: bool) -> None:
    made = exchange(mine("started"), ApiError(error), Result(is_error=True, status=status, text="no"))
    outcome = made.outcome(NOW, None, "")
    assert (outcome.ending, outcome.person) == (Ending.PARKED, person)


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (None, "", "claude closed its output in the turn"),
        (1, "first\nbad flag\n", "claude ended with exit code 1 in the turn: bad flag"),
        (-9, "", "claude was ended by signal 9 in the turn"),
    ],
)
def test_a_turn_without_a_result_says_how_the_cli_ended(code: int | None, stderr: str, reason: str) -> None:
    judgement = judge_end(code, stderr)
    assert (judgement.ending, judgement.reason) == (Ending.CRASHED, reason)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("resets 3:42am (UTC)", 3.7),
        ("resets 12am (UTC)", 24.0),
        ("You've hit your limit · resets at 1:00 pm (UTC)", 13.0),
        ("resets 3:42am (Europe/Berlin)", 2.7),
        ("resets 3:42am (Nowhere/Land)", 3.7),
        ("resets 0:10am (UTC)", None),
        ("resets 99am", None),
        ("no time", None),
    ],
)
def test_the_time_in_a_text_is_its_next_one(text: str, hours: float | None) -> None:
    midnight = 1_795_219_200.0  # 2026-11-21 00:00 UTC
    when = reset_time(text, midnight)
    assert when == (None if hours is None else pytest.approx(midnight + hours * 3600))


def test_a_time_that_just_passed_is_not_tomorrows() -> None:
    midnight = 1_795_219_200.0  # 2026-11-21 00:00 UTC
    assert reset_time("resets 11:55pm (UTC)", midnight - 60) == midnight - 300


@pytest.mark.parametrize(("ahead", "believed"), [(-1, False), (0, False), (3600, True), (10**7, False)])
def test_a_time_that_cannot_be_true_is_not_believed(ahead: float, believed: bool) -> None:
    assert (believable(NOW + ahead, NOW) is not None) == believed


def test_without_a_result_the_requests_that_were_reported_are_billed_once_each() -> None:
    requests = [Context(1000, 1), Context(1000, 60), Context(1000, 1), Context(1080, 1, 900), Context(1080, 20, 900)]
    tokens = exchange(mine("started"), *requests).outcome(NOW, -9, "").tokens
    assert (tokens.input, tokens.output, tokens.cached, tokens.context) == (1180, 80, 900, 1100)


def test_with_a_result_its_own_figures_are_billed() -> None:
    result = replace(OK, input=2000, output=90, cached=1900)
    tokens = exchange(mine("started"), Context(1000, 60), Context(1080, 20, 900), result).outcome(NOW, None, "").tokens
    assert (tokens.input, tokens.output, tokens.cached, tokens.context) == (2000, 90, 1900, 1100)
