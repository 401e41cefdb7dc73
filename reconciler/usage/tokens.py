"""The tokens that hive-egress counted in the answers of the models' APIs: no claim of an agent.

They are kept by day, and a budget counts them if they are more than what the agent claims.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from meta.errors import HiveError
from meta.names import AgentName
from meta.network.report import DAYS_KEPT, Metered, Report
from reconciler.plan.budget import day_of
from reconciler.store import token_days as rows
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.token_days import DayReport

log = logging.getLogger(__name__)

_EPOCH = datetime.date(1970, 1, 1).toordinal()
DAYS = 2
"""Days of a report that are taken: it has the sums of many, and only those of now still grow. Of the first all are."""

Count = Callable[[AgentName, Metered], None]
"""Counts tokens that are new."""


class MeteredTokens:
    """The metered tokens of all agents. `exists` returns True for an agent. `clock` gives Unix seconds.

    `spent` is awaited with each agent that spent some today.
    """

    def __init__(
        self,
        db: Database,
        exists: Callable[[str], bool],
        spent: Callable[[AgentName], Awaitable[None]],
        count: Count,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._exists = exists
        self._spent = spent
        self._count = count
        self._clock = clock
        self._taken: dict[tuple[str, int], Metered] = {}

    async def take(self, report: Report) -> None:
        """Keep what is new in a report. If that fails, the next report has it again."""
        today, days = day_of(self._clock()), DAYS if self._taken else DAYS_KEPT
        self._taken = {key: sums for key, sums in self._taken.items() if key[1] > today - DAYS}
        news = [each for each in _days(report, today, days) if self._is_new(each)]
        if not news:
            return
        try:
            added = await self._db.write(partial(_take, news=news))
        except HiveError as error:
            log.warning("metered tokens are not kept: %s", error.summary, extra={"limited": "metered"})
            return
        for each, more in zip(news, added, strict=True):
            self._taken[each.agent, each.day] = each.sums
            self._count(AgentName(each.agent), more)
        for agent in {
            each.agent for each, more in zip(news, added, strict=True) if each.day == today and more.requests
        }:
            await self._spent(AgentName(agent))

    def _is_new(self, each: DayReport) -> bool:
        return self._exists(each.agent) and self._taken.get((each.agent, each.day)) != each.sums


def _days(report: Report, today: int, most: int) -> list[DayReport]:
    """Return the days of a report that still change."""
    days = []
    for agent, each in report.agents.items():
        for text, sums in each.metered.items():
            try:
                day = datetime.date.fromisoformat(text).toordinal() - _EPOCH
            except ValueError:
                continue
            if today - most < day <= today + 1:
                days.append(DayReport(agent, day, sums))
    return days


def _take(connection: Transaction, news: list[DayReport]) -> list[Metered]:
    return [rows.take(connection, each) for each in news]
