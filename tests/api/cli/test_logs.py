"""`hive logs`: the last lines, those since a time, and those that come."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from api.cli.client.exit_codes import Code
from api.words.times import since_of
from meta.errors import BadInput

if TYPE_CHECKING:
    from tests.api.conftest import Hive

NOW = 1_700_000_000.0


async def test_a_log_is_followed_from_cursor_to_cursor_and_cannot_steer_the_terminal(hive: Hive) -> None:
    code, out, err = await hive.hive("logs", "alice", "--follow", "-n", "7")
    assert (code, out) == (Code.NOT_FOUND, "first\nsecond \\u001b[2J\n")
    assert "there is no agent alice" in err
    assert hive.fake.calls == [
        ("logs_after", "alice", None, 7, None),
        ("logs_after", "alice", "7-6", 10_000, None),
        ("logs_after", "alice", "7-13", 10_000, None),
    ]


async def test_a_followed_log_is_one_json_object_per_line(hive: Hive) -> None:
    _, out, _ = await hive.hive("logs", "alice", "-f", "--json")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"agent": "alice", "line": "first"},
        {"agent": "alice", "line": b"second \\u001b[2J".decode("unicode_escape")},
    ]


async def test_a_time_is_sent_as_seconds(hive: Hive) -> None:
    code, out, _ = await hive.hive("logs", "alice", "--since", "2023-11-14T22:13:20+00:00")
    assert (code, out) == (0, "first\n")
    assert hive.fake.calls == [("logs_after", "alice", None, 50, NOW)]


@pytest.mark.parametrize(
    ("text", "at"), [("90s", NOW - 90), ("10m", NOW - 600), ("2h", NOW - 7200), ("3d", NOW - 259_200)]
)
def test_how_long_ago_is_counted_back(text: str, at: float) -> None:
    assert since_of(text, NOW) == at


def test_a_time_without_a_zone_is_local() -> None:
    assert since_of("2026-05-01T12:00", NOW) == datetime(2026, 5, 1, 12).timestamp()  # noqa: DTZ001


@pytest.mark.parametrize("text", ["", "soon", "10", "m", "-5m", "10w", "2026-13-01", "9999999h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a time"):
        since_of(text, NOW)
