"""Signs of life for systemd: the daemon's own loop sends WATCHDOG=1 and a status line (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from api.daemon.notify import notify
from meta.errors import HiveError

if TYPE_CHECKING:
    from reconciler.service import Service

STATUS_DEADLINE = 5.0
"""Seconds to make one status line. More would delay the next sign of life."""
STATUS_SECONDS = 30.0
"""Seconds between two status lines if systemd does not watch this process."""


def interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two signs of life: half of systemd's limit. Return None if systemd does not watch this
    process.
    """
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2_000_000 if microseconds > 0 else None


def line(phases: Iterable[str], pending: int) -> str:
    """Return a line such as "3 agents: 2 running, 1 failed; 1 proposal waits"."""
    counts = Counter(phases)
    agents = sum(counts.values())
    parts = ", ".join(f"{count} {phase}" for phase, count in counts.most_common())
    waits = f"; {pending} proposal{'s' if pending > 1 else ''} wait{'' if pending > 1 else 's'}" if pending else ""
    return f"{agents} agent{'' if agents == 1 else 's'}{f': {parts}' if parts else ''}{waits}"


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Return True if systemd accepts notifications."""
    return bool(environment.get("NOTIFY_SOCKET"))


async def live(service: Service, environment: Mapping[str, str] = os.environ) -> None:
    """Report to systemd until cancelled."""
    seconds = interval(environment, os.getpid())
    while True:
        if seconds is not None:
            notify("WATCHDOG=1", environment)  # before anything that may take long
        notify(f"STATUS={await _status(service)}", environment)
        await asyncio.sleep(seconds or STATUS_SECONDS)


async def _status(service: Service) -> str:
    try:
        async with asyncio.timeout(STATUS_DEADLINE):
            agents = (await service.status()).agents
    except HiveError as error:  # the daemon is alive anyway
        return error.summary
    except TimeoutError:
        return "busy"
    return line((agent.phase for agent in agents), sum(len(agent.pending) for agent in agents))
