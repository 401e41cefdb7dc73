"""The audit in the daemon: at most once a minute, one at a time, and in a thread."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from meta.errors import NotFound
from reconciler.queries.audit import FINDINGS, AuditQuery, look_at, result_of
from reconciler.upkeep.audit.rules import FAULT, NOTE, Finding
from reconciler.upkeep.audit.verify import Heads, Report
from tests.support.hive_state import make

EMPTY = Report((), (), Heads("u", 3, "h", "m", {}), 3)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_verification_is_kept_for_a_minute_and_made_again_after_it() -> None:
    looks: list[str] = []
    clock = Clock()

    def look() -> Report:
        looks.append(threading.current_thread().name)
        return EMPTY

    query = AuditQuery(look, clock)
    assert query.last is None, "nobody asked"
    first = await query.verify()
    assert (first.events, first.last, first.faults) == (3, 3, 0)
    clock.now += 59
    assert await query.verify() is first
    clock.now += 2
    assert await query.verify() is not first
    assert len(looks) == 2
    assert threading.main_thread().name not in looks


async def test_two_who_ask_at_once_wait_for_one_verification() -> None:
    looks: list[Report] = []

    def look() -> Report:
        looks.append(EMPTY)
        return EMPTY

    query = AuditQuery(look, Clock())
    one, other = await asyncio.gather(query.verify(), query.verify())
    assert one is other
    assert len(looks) == 1


async def test_what_could_not_be_verified_says_why() -> None:
    def look() -> Report:
        raise NotFound("there is no hive here", "look elsewhere")

    assert (await AuditQuery(look, Clock()).verify()).error == "there is no hive here"


def test_findings_are_bounded_and_faults_come_first() -> None:
    notes = tuple(Finding(NOTE, "n", None, None, "x") for _ in range(FINDINGS))
    result = result_of(Report((*notes, Finding(FAULT, "chain", None, 1, "y")), (), EMPTY.heads, 3), 1.0, 2.5)
    assert (result.findings[0].level, len(result.findings), result.left_out) == (FAULT, FINDINGS, 1)
    assert (result.faults, result.seconds) == (1, 1.5)


async def test_a_real_hive_is_verified_in_a_thread(tmp_path: Path) -> None:
    layout = await make(tmp_path)
    result = await AuditQuery(lambda: look_at(layout), Clock()).verify()
    assert (result.error, result.findings, result.events > 0) == ("", (), True)
