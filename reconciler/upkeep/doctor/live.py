"""The doctor of a running daemon: the checks of `hive doctor`, in a thread, at most once a minute.

It repairs nothing. `hive doctor` examines from outside, so it also sees a daemon that does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from meta.config import Config
from meta.layout import Layout
from reconciler.common.own_thread import in_own_thread
from reconciler.common.rounds import describe
from reconciler.upkeep.doctor.checks.base import AgentRow, Daemon, Subject, Verdict
from reconciler.upkeep.doctor.examine import CHECKS, Check, Row, examine
from reconciler.views import Status

log = logging.getLogger(__name__)

SPACING = 60.0
"""Seconds between the ends of two runs, at least."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What the last run found. `at`: when it ended, in Unix seconds, null before the first. `running`: one goes on."""

    rows: tuple[Row, ...] = ()
    at: float | None = None
    seconds: float = 0.0
    running: bool = False


class LiveDoctor:
    """The checks, run when somebody asks. `changed` is called when a run begins or ends."""

    def __init__(
        self,
        layout: Layout,
        config: Config,
        status: Callable[[], Awaitable[Status]],
        changed: Callable[[], None],
        *,
        checks: Sequence[Check] = CHECKS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._layout = layout
        self._config = config
        self._status = status
        self._changed = changed
        self._checks = checks
        self._clock = clock
        self._rows: tuple[Row, ...] = ()
        self._at: float | None = None
        self._seconds = 0.0
        self._run: asyncio.Task[None] | None = None

    @property
    def last(self) -> Examined:
        """What the last run found."""
        return Examined(self._rows, self._at, self._seconds, self._run is not None)

    async def examine(self, wait: float) -> Examined:
        """Start a run, unless one goes on or the last one is fresh, and return what is known within `wait` seconds."""
        fresh = self._at is not None and 0 <= self._clock() - self._at < SPACING
        if self._run is None and not fresh:
            self._run = asyncio.create_task(self._once(), name="doctor")
            self._run.add_done_callback(self._end)
            self._changed()
        if self._run is not None:
            await asyncio.wait([self._run], timeout=wait)
        return self.last

    async def _once(self) -> None:
        began = time.monotonic()
        status = await self._status()
        subject = Subject(self._layout, self._config, status.backend, status.builder, True, daemon_of(status))
        rows = await in_own_thread("doctor", lambda: asyncio.run(examine(subject, checks=self._checks)))
        self._rows = tuple(rows)
        self._seconds = time.monotonic() - began

    def _end(self, run: asyncio.Task[None]) -> None:
        self._run = None
        self._at = self._clock()
        if not run.cancelled() and (error := run.exception()) is not None:
            log.error("the checks of the doctor ended: %s", describe(error), exc_info=error)
            text = f"the checks ended: {describe(error)}"
            self._rows = (Row("doctor", Verdict.FAIL, text, "see the daemon's log; run `hive doctor` on the host"),)
        self._changed()


def daemon_of(status: Status) -> Daemon:
    """Return what the checks ask a daemon for, of its status."""
    agents = (
        AgentRow(
            row.agent,
            row.phase,
            row.conditions,
            row.declared,
            " ".join(filter(None, (row.runtime, row.program))),
            row.runtime_problem,
        )
        for row in status.agents
    )
    return Daemon(
        status.state,
        status.revision,
        status.backend,
        status.builder,
        status.limits,
        status.isolation,
        notes=status.notes,
        agents=tuple(agents),
        path=status.programs_path,
        named=status.programs_named,
        dashboard=status.dashboard,
    )
