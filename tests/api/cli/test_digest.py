"""`hive digest`: the days that --since takes, and what is shown."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from api.words.times import since_of
from tests.support.fake_service import ALICE

if TYPE_CHECKING:
    from tests.api.conftest import Hive

NOON = datetime(2026, 5, 6, 12).timestamp()  # noqa: DTZ001 - a Wednesday, local


@pytest.mark.parametrize(
    ("text", "day"),
    [("today", 6), ("yesterday", 5), ("Tuesday", 5), ("monday", 4), ("thursday", 30), ("wednesday", 29)],
)
def test_a_day_begins_at_its_local_midnight_and_a_weekday_is_the_last_one(text: str, day: int) -> None:
    month = 5 if day < 10 else 4
    assert since_of(text, NOON) == datetime(2026, month, day).timestamp()  # noqa: DTZ001


async def test_counts_come_first_then_the_newest_details(hive: Hive) -> None:
    events = hive.fake.events
    await events.append("daemon_started", None, {})
    for number in range(3):
        await events.append("container_crash", ALICE, {"signal": 9, "crashes": number})
    await events.append("proposal_approved", ALICE, {"id": 1, "approved_by": "operator uid 7"})
    code, out, err = await hive.hive("digest", "-n", "2")
    assert (code, err) == (0, "")
    first, approvals, _, alice, newest, _, more, _, daemon, *_ = out.splitlines()
    assert first.endswith(": 5 events")
    assert approvals.startswith("approvals: 1 by operator")
    assert alice == "alice: crashes 3, approvals 1"
    assert "1 is approved" in newest
    assert more == "  and 2 before"
    assert daemon == "the daemon: starts of the daemon 1"
    _, out, _ = await hive.hive("digest", "--agent", "alice", "--json")
    found = json.loads(out)
    assert [row["agent"] for row in found["agents"]] == ["alice"]
    assert found["agents"][0]["counts"] == {"crashes": 3, "approvals": 1}


async def test_a_time_that_is_none_is_refused(hive: Hive) -> None:
    code, _, err = await hive.hive("digest", "--since", "someday")
    assert code == 2
    assert "yesterday" in err
