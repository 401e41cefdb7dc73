"""The plan of notifications, as tables: what is sent when, of which rows, and what is remembered. No clock runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from reconciler.attention.plan import OWN, Memory, Plan, Quiet, Settings, plan
from reconciler.attention.row import Row, Severity

T = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
"""Noon, far from quiet hours."""
NIGHT = Quiet(22 * 60, 7 * 60)
RULES = Settings(group=10, per_hour=4, forget=60, zone=UTC)


def row(key: str, severity: Severity = Severity.NORMAL) -> Row:
    return Row(key, "question", severity, None, T, key, "", "hive attention")


A, B, C = row("a"), row("b"), row("c", Severity.CRITICAL)
LOW = row("low", Severity.LOW)


def sent(planned: Plan) -> list[str]:
    return [each.key for each in planned.send]


def after(planned: Plan, now: float) -> Memory:
    """The memory once the plan's notification was sent."""
    return planned.memory.with_sent(planned.send, now) if planned.send else planned.memory


def walk(
    steps: list[tuple[float, list[Row], list[str]]], rules: Settings = RULES, memory: Memory | None = None
) -> Memory:
    """Look at each time (from T on) at these rows, expect these keys to be sent, and return the memory."""
    known = memory or Memory()
    for seconds, rows, expected in steps:
        planned = plan(rows, known, T + seconds, rules)
        assert sent(planned) == expected, seconds
        known = after(planned, T + seconds)
    return known


def test_what_comes_within_some_seconds_is_one_notification() -> None:
    walk([(0, [A], []), (9, [A, B], []), (10, [A, B], ["a", "b"]), (30, [A, B], [])])


def test_the_next_look_is_when_the_first_row_of_a_group_is_due() -> None:
    planned = plan([A], Memory(), T, RULES)
    assert planned.until == T + 10


def test_a_row_that_is_gone_before_it_was_due_is_never_sent() -> None:
    walk([(0, [A], []), (5, [], []), (10, [B], []), (20, [B], ["b"])])


def test_a_row_is_sent_once_also_after_a_restart() -> None:
    memory = walk([(0, [A], []), (10, [A], ["a"])])
    durable = Memory(memory.sent, memory.times)
    walk([(500, [A], []), (9_000, [A], [])], memory=durable)


def test_a_row_that_is_not_there_yet_after_a_restart_is_not_new() -> None:
    durable = Memory({"a": T}, (T,))
    walk([(100, [], []), (159, [A], []), (400, [A], [])], memory=durable)


def test_a_row_that_was_away_for_a_minute_and_comes_back_is_new() -> None:
    steps = [(0, [A], []), (10, [A], ["a"]), (20, [], []), (79, [], [])]
    walk([*steps, (80, [], []), (90, [A], []), (100, [A], ["a"])])


def test_a_row_that_is_away_for_less_than_a_minute_is_the_same() -> None:
    walk([(0, [A], []), (10, [A], ["a"]), (20, [], []), (79, [A], []), (200, [A], [])])


@pytest.mark.parametrize(
    ("least", "keys"),
    [(Severity.LOW, ["c", "a", "low"]), (Severity.NORMAL, ["c", "a"]), (Severity.HIGH, ["c"])],
)
def test_rows_below_the_threshold_are_not_sent(least: Severity, keys: list[str]) -> None:
    walk([(0, [C, A, LOW], []), (10, [C, A, LOW], keys)], replace(RULES, least=least))


def test_a_notification_that_fails_is_never_notified_itself() -> None:
    walk([(0, [row(OWN, Severity.HIGH)], []), (60, [row(OWN, Severity.HIGH)], [])])


def test_there_are_at_most_some_notifications_within_an_hour() -> None:
    rows = [row(str(number)) for number in range(5)]
    memory = walk([(20 * number, rows[: number + 1], [str(number)]) for number in range(3)], replace(RULES, group=0))
    planned = plan(rows, memory, T + 60, replace(RULES, group=0))
    assert (sent(planned), planned.until) == ([], T + 3600)
    walk([(3599, rows, []), (3600, rows, ["3", "4"])], replace(RULES, group=0), planned.memory)


def test_rows_without_end_leave_room_for_what_is_critical() -> None:
    rows = [row(str(number)) for number in range(9)]
    rules = replace(RULES, group=0)
    memory = walk([(number, rows[: number + 1], [str(number)]) for number in range(3)], rules)
    walk([(5, rows[:4], []), (6, [C, *rows[:4]], ["c", "3"]), (7, [C, *rows], [])], rules, memory)


@pytest.mark.parametrize(("per_hour", "others"), [(1, 1), (2, 1), (4, 3), (12, 9)])
def test_a_quarter_of_the_notifications_is_for_critical_rows(per_hour: int, others: int) -> None:
    rules = replace(RULES, per_hour=per_hour)
    assert (rules.most(critical=True), rules.most(critical=False)) == (per_hour, others)


def test_in_quiet_hours_only_what_is_critical_is_sent_and_the_rest_afterwards_together() -> None:
    rules, hour = replace(RULES, quiet=NIGHT), 3600.0
    walk(
        [
            (10 * hour, [A], []),
            (10 * hour + 10, [A], []),
            (11 * hour, [C, A], []),
            (11 * hour + 10, [C, A], ["c"]),
            (19 * hour - 1, [C, A, B], []),
            (19 * hour, [C, A, B], ["a", "b"]),
        ],
        rules,
    )


def notes(rows: list[Row], memory: Memory, seconds: float, rules: Settings) -> list[str]:
    return [held.describe(UTC) for held in plan(rows, memory, T + seconds, rules).held]


def test_rows_above_the_number_of_an_hour_are_held_until_there_is_room() -> None:
    rules = replace(RULES, group=0)
    rows = [row(str(number)) for number in range(5)]
    memory = walk([(20 * number, rows[: number + 1], [str(number)]) for number in range(3)], rules)
    assert notes(rows, memory, 60, rules) == ["notifications: 2 rows wait until 13:00, HIVE_NOTIFY_PER_HOUR"]
    assert notes(rows[:4], memory, 60, rules) == ["notifications: 1 row waits until 13:00, HIVE_NOTIFY_PER_HOUR"]
    assert notes(rows[:3], memory, 60, rules) == []
    assert notes(rows, memory, 3600, rules) == []


def test_rows_of_quiet_hours_are_held_until_their_end() -> None:
    rules, hour = replace(RULES, quiet=NIGHT), 3600.0
    note = "notifications: 1 row waits until 07:00, HIVE_NOTIFY_QUIET"
    assert notes([C, A], Memory(), 11 * hour, rules) == [note]  # 23:00, only c is sent
    assert notes([A, LOW], Memory(), 18 * hour, rules) == [note]  # 06:00, a low row is never sent
    assert notes([A], Memory({"a": T}), 18 * hour, rules) == []
    assert notes([C, A], Memory(), 0, rules) == []


def test_rows_that_wait_for_their_group_are_not_held() -> None:
    assert notes([A, C], Memory(), 0, RULES) == []


@pytest.mark.parametrize(
    ("quiet", "clock", "holds"),
    [
        (NIGHT, "21:59", False),
        (NIGHT, "22:00", True),
        (NIGHT, "00:00", True),
        (NIGHT, "06:59", True),
        (NIGHT, "07:00", False),
        (Quiet(13 * 60, 14 * 60), "13:30", True),
        (Quiet(13 * 60, 14 * 60), "14:00", False),
        (Quiet(60, 60), "01:00", False),
    ],
)
def test_quiet_hours_may_span_midnight_and_end_before_their_last_minute(quiet: Quiet, clock: str, holds: bool) -> None:
    assert quiet.holds(datetime.strptime(clock, "%H:%M").replace(tzinfo=UTC)) is holds


def test_quiet_hours_are_those_of_the_zone() -> None:
    berlin = replace(RULES, quiet=NIGHT, zone=ZoneInfo("Europe/Berlin"))
    end = datetime(2026, 7, 2, 5, 0, tzinfo=UTC).timestamp()
    assert berlin.quiet_until(datetime(2026, 7, 1, 20, 30, tzinfo=UTC).timestamp()) == end
    assert berlin.quiet_until(datetime(2026, 12, 1, 20, 30, tzinfo=UTC).timestamp()) is None


def test_a_clock_that_is_set_back_delays_no_row_for_longer_than_its_group() -> None:
    memory = walk([(0, [A], []), (10, [A], ["a"]), (10, [A, B], [])])
    walk([(-50_000, [A, B], []), (-49_990, [A, B], ["b"])], memory=memory)
