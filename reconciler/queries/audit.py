"""The audit as the daemon can run it: in a thread of its own, at most once a minute, with the last result kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from meta.errors import HiveError
from meta.layout import Layout
from reconciler.common.own_thread import in_own_thread
from reconciler.upkeep.audit.rules import FAULT, NOTE, WARNING, Finding
from reconciler.upkeep.audit.verify import Report, verify

INTERVAL = 60.0
"""Seconds after a verification in which its result is the answer to the next request."""
FINDINGS = 100
"""Findings that a result has, the most severe first."""

_ORDER = {FAULT: 0, WARNING: 1, NOTE: 2}


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The result of one verification, which ended `at` (Unix seconds) after `seconds`.

    `events`: how many events are chained, up to number `last`. `left_out`: findings beyond FINDINGS. `error`: why it
    could not be done.
    """

    at: float
    seconds: float
    events: int = 0
    last: int = 0
    faults: int = 0
    warnings: int = 0
    findings: tuple[Finding, ...] = ()
    left_out: int = 0
    error: str = ""


class AuditQuery:
    """The audit of one hive. `look` verifies it, and may block; `clock` gives Unix seconds."""

    def __init__(self, look: Callable[[], Report], clock: Callable[[], float]) -> None:
        self._look = look
        self._clock = clock
        self._running: asyncio.Task[AuditResult] | None = None
        self.last: AuditResult | None = None

    async def verify(self) -> AuditResult:
        """Verify, and return the result. If one ended within INTERVAL return that; if one is under way wait for it."""
        if self._running is None:
            if self.last is not None and self._clock() - self.last.at < INTERVAL:
                return self.last
            self._running = asyncio.create_task(self._verify(), name="audit")
        return await asyncio.shield(self._running)

    async def _verify(self) -> AuditResult:
        begun = self._clock()
        try:
            report = await in_own_thread("audit", self._look)
        except HiveError as error:
            now = self._clock()
            self.last = AuditResult(now, now - begun, error=error.summary)
        else:
            self.last = result_of(report, begun, self._clock())
        finally:
            self._running = None
        return self.last


def look_at(layout: Layout) -> Report:
    """Verify the hive of `layout` in an event loop of this thread's own, so that the daemon's is not held up."""
    return asyncio.run(verify(layout))


def result_of(report: Report, begun: float, ended: float) -> AuditResult:
    """Return what a report says, bounded. Faults come first."""
    findings = sorted(report.findings, key=lambda finding: _ORDER.get(finding.level, 0))
    return AuditResult(
        ended,
        ended - begun,
        report.events,
        report.heads.event,
        report.faults,
        report.warnings,
        tuple(findings[:FINDINGS]),
        max(0, len(findings) - FINDINGS),
    )
