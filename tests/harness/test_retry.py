"""What follows from the end of a turn."""

from __future__ import annotations

import pytest

from harness.hold import Wait
from harness.retry import FIRST_DELAY, LONGEST_DELAY, LONGEST_LIMIT, MANY, SPREAD, Action, History, follow, login_delay
from harness.runtimes.base import Ending, TurnOutcome
from harness.stop import Cause
from meta.wire.link import TurnState

NOW = 1_000_000.0


def action(ending: Ending, cause: Cause | None = None) -> Action:
    return follow(TurnOutcome(ending), cause, History(), NOW, 0.5).action


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.CRASHED, Ending.OVERFLOW, Ending.CANCELLED])
def test_a_turn_that_itself_fails_is_counted(ending: Ending) -> None:
    assert action(ending) is Action.COUNT


@pytest.mark.parametrize("ending", [Ending.PARKED, Ending.NEEDS_LOGIN])
def test_what_is_not_the_messages_fault_is_given_back_uncounted(ending: Ending) -> None:
    assert action(ending) is Action.RELEASE


@pytest.mark.parametrize(
    ("cause", "expected"),
    [(Cause.OPERATOR, Action.ACKNOWLEDGE), (Cause.PAUSE, Action.RELEASE), (Cause.LIMIT, Action.COUNT)],
)
def test_who_cancelled_a_turn_decides_what_becomes_of_its_messages(cause: Cause, expected: Action) -> None:
    assert action(Ending.CANCELLED, cause) is expected


def parked(history: History, random: float, until: float | None = None) -> tuple[History, float]:
    follows = follow(TurnOutcome(Ending.PARKED, "down", until), None, history, NOW, random)
    assert follows.wait is not None
    assert follows.wait.until is not None
    assert follows.wait.state is TurnState.PARKED
    assert follows.wait.reason == ("down" if history.parked < 4 else f"try {history.parked + 1}: down")
    return follows.history, follows.wait.until - NOW


def test_the_delays_of_an_outage_double_up_to_a_bound_and_begin_anew_after_a_good_turn() -> None:
    history, delays = History(), []
    for _ in range(12):
        history, delay = parked(history, 0.0)
        delays.append(delay)
    assert delays[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert max(delays) == delays[-1] == LONGEST_DELAY
    history = follow(TurnOutcome(Ending.OK), None, history, NOW, 0.0).history
    assert parked(history, 0.0)[1] == FIRST_DELAY


def test_many_parked_turns_in_a_row_are_in_the_reason() -> None:
    follows = follow(TurnOutcome(Ending.PARKED, "down"), None, History(MANY - 1), NOW, 0.0)
    assert follows.wait is not None
    assert follows.wait.reason == "try 5: down"


@pytest.mark.parametrize("at_fault", [False, True])
def test_a_wait_for_a_person_is_tried_again_as_any_other(at_fault: bool) -> None:
    for person in (False, True):
        outcome = TurnOutcome(Ending.PARKED, "no such model", person=person)
        wait = follow(outcome, None, History(), NOW, 0.0, at_fault=at_fault).wait
        assert wait is not None
        assert (wait.person, wait.until is not None) == (person, True)


def test_a_delay_is_cut_by_up_to_half_at_random() -> None:
    assert [parked(History(3), random)[1] for random in (0.0, 0.5, 1.0)] == [40.0, 30.0, 20.0]


def test_a_limit_ends_at_the_time_that_the_cli_names_or_a_little_later() -> None:
    assert parked(History(9), 0.0, NOW + 7200)[1] == 7200
    assert parked(History(9), 1.0, NOW + 7200)[1] == 7200 + SPREAD


def test_a_time_in_the_past_counts_as_none_and_one_far_away_is_bounded() -> None:
    assert parked(History(), 0.0, NOW - 5)[1] == FIRST_DELAY
    assert parked(History(), 0.0, NOW * 1000)[1] == LONGEST_LIMIT


def test_a_missing_login_waits_for_an_event_outside_and_changes_no_delay() -> None:
    follows = follow(TurnOutcome(Ending.NEEDS_LOGIN, "log in"), None, History(2), NOW, 0.5)
    assert follows.wait == Wait(TurnState.NEEDS_LOGIN, "log in", None)
    assert follows.history == History(2, refused=1)


def test_a_login_that_is_refused_again_and_again_is_tried_less_and_less() -> None:
    history, delays = History(), []
    for _ in range(12):
        history = follow(TurnOutcome(Ending.NEEDS_LOGIN), None, history, NOW, 0.5).history
        delays.append(login_delay(history))
    assert delays[:4] == [0, FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert max(delays) == delays[-1] == LONGEST_DELAY
    assert login_delay(follow(TurnOutcome(Ending.OK), None, history, NOW, 0.5).history) == 0
