"""The task that notifies: it looks at the attention list, sends what the plan says, and keeps what was sent."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import TypeAdapter

from meta.errors import HiveError, NotFound
from reconciler.attention.delivery import Delivery, NotDelivered
from reconciler.attention.holding import Holding
from reconciler.attention.message import Notification
from reconciler.attention.plan import Memory, Settings, plan
from reconciler.attention.row import Row
from reconciler.common.rounds import Rounds
from reconciler.store.database import Database
from reconciler.store.record import Record

log = logging.getLogger(__name__)

RELOOK = 30.0
"""Seconds between two looks, at most: an end of quiet hours is noticed with this delay."""
SPACING = 2.0
"""Seconds between two looks, at least."""
SPARE = 20
"""A look that takes long is followed by a pause of this many times its time."""
BACKOFF = 10.0
"""Seconds from the first failure to the next try; doubles each time."""
BACKOFF_MAX = 600.0

Look = Callable[[], Awaitable[tuple[Row, ...]]]
"""Returns all rows of the attention list, sorted."""


class Outcomes(Protocol):
    """Counts notifications by their outcome."""

    def notified(self, outcome: str) -> None:
        """Count a notification that was `sent`, that `failed`, or that a setting begins to hold back (`held`)."""


@dataclass(frozen=True, slots=True)
class NotifyResult:
    """The result of a test. `to` is the target without its secrets, `answer` what came back or went wrong."""

    sent: bool
    to: str
    answer: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Notices:
    """What was notified about: when each row was sent, by its key, and the times of the last hour. Unix seconds."""

    sent: Mapping[str, float] = field(default_factory=dict)
    times: tuple[float, ...] = ()


_NOTICES = TypeAdapter(Notices)


def notices(db: Database) -> Record[Notices]:
    """Return the record of what was notified about, so that a new daemon does not repeat it."""
    return Record(db, "notified", _NOTICES, Notices())


class Notifier:
    """The notifications of one daemon. Without a `delivery` there are none. `clock` gives Unix seconds."""

    def __init__(
        self,
        look: Look,
        store: Record[Notices],
        delivery: Delivery | None,
        settings: Settings,
        rounds: Rounds,
        outcomes: Outcomes,
        holding: Holding,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._look = look
        self._store = store
        self._delivery = delivery
        self._settings = settings
        self._rounds = rounds
        self._outcomes = outcomes
        self._holding = holding
        self._clock = clock
        self._memory = Memory()
        self._stored = Notices()
        self._failures = 0
        self._retry_at = float("-inf")
        self._woken = asyncio.Event()

    @property
    def configured(self) -> bool:
        """True if there is a target."""
        return self._delivery is not None

    def wake(self) -> None:
        """Look soon: something may have changed."""
        self._woken.set()

    async def test(self) -> NotifyResult:
        """Send a test. Raise NotFound if there is no target."""
        if self._delivery is None:
            raise NotFound("there is nowhere to send to: HIVE_NOTIFY is not set", "see docs/howto/attention.md")
        begun, to = time.monotonic(), self._delivery.target.name
        try:
            back = await self._delivery.send(Notification(os.uname().nodename, (), test=True))
        except NotDelivered as error:
            return NotifyResult(False, to, error.summary, "", time.monotonic() - begun)
        return NotifyResult(True, to, back.answer, back.text, time.monotonic() - begun)

    async def run(self) -> None:
        """Look and notify until cancelled. An error is logged once, and status shows it until it is over."""
        await self._load()
        while True:
            self._woken.clear()
            begun = time.monotonic()
            try:
                wait = await self._round()
            except HiveError as error:
                self._rounds.fail(error)
                log.warning("the attention list cannot be notified: %s", error.summary, extra={"limited": "notify"})
                wait = RELOOK
            least = max(min(SPACING, self._settings.group), SPARE * (time.monotonic() - begun))
            await asyncio.sleep(least)
            try:
                async with asyncio.timeout(max(0.0, wait - least)):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _load(self) -> None:
        try:
            self._stored = await self._store.load()
        except HiveError as error:
            log.warning("what was notified before is not known: %s", error.summary)
        self._memory = Memory(self._stored.sent, self._stored.times)

    async def _round(self) -> float:
        """Look once, send what is due, and keep that. Return the seconds until the next look."""
        now = self._clock()
        planned = plan(await self._look(), self._memory, now, self._settings)
        self._memory = planned.memory
        for _ in self._holding.note(planned.held, self._settings.zone):
            self._outcomes.notified("held")
        wait = RELOOK if planned.until is None else min(RELOOK, planned.until - now)
        if planned.send:
            wait = await self._send(planned.send, now)
        elif planned.until is None:
            self._succeed()
        await self._save()
        return wait

    async def _send(self, rows: tuple[Row, ...], now: float) -> float:
        if self._delivery is None or (left := self._retry_at - time.monotonic()) > 0:
            return RELOOK if self._delivery is None else min(RELOOK, left)
        try:
            await self._delivery.send(Notification(os.uname().nodename, rows))
        except NotDelivered as error:
            return self._fail(error)
        self._memory = self._memory.with_sent(rows, now)
        self._outcomes.notified("sent")
        self._succeed()
        return RELOOK

    def _fail(self, error: NotDelivered) -> float:
        """Note a failure. Return the seconds until the next try. Log only the first of a series."""
        delay = min(BACKOFF_MAX, BACKOFF * 2.0 ** min(self._failures, 16))
        if not self._failures:
            log.warning("a notification was not sent: %s; it is tried again", error.summary)
        self._failures += 1
        self._retry_at = time.monotonic() + delay
        self._outcomes.notified("failed")
        self._rounds.fail(error)
        return min(RELOOK, delay)

    def _succeed(self) -> None:
        if self._failures:
            log.info("notifications are sent again")
        self._failures, self._retry_at = 0, float("-inf")
        self._rounds.succeed()

    async def _save(self) -> None:
        now = Notices(self._memory.sent, self._memory.times)
        if now.sent != self._stored.sent or set(now.times) - set(self._stored.times):
            await self._store.save(now)
            self._stored = now
