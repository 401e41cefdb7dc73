"""The books of one agent: what is open, what ended, what was refused, and the sums."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from meta.errors import BadInput
from meta.names import AgentName
from meta.network.control import encode_agent
from meta.network.report import (
    CONNECTIONS_KEPT,
    DAYS_KEPT,
    OTHERS,
    REFUSALS_LIMIT,
    AgentReport,
    ConnectionRecord,
    Metered,
    Refusal,
)
from meta.network.verdict import Verdict
from reconciler.egress.log import ConnectionLog
from reconciler.egress.ports import Denied

NUMBERS_SKIPPED = 100_000
"""Added to the last number that was kept: those after it are lost in a crash, and none may be given twice."""
_SHOWN = frozenset(
    {Verdict.NOT_LISTED, Verdict.CEILING, Verdict.PRIVATE, Verdict.SNI, Verdict.HOST_HEADER, Verdict.NOT_TLS}
)
"""The refusals that are kept by host and port."""


class Entry:
    """One open connection. Its task is cancelled when the policy no longer allows it."""

    __slots__ = (
        "_task",
        "at",
        "denied",
        "dropped",
        "end",
        "host",
        "kind",
        "port",
        "private",
        "received",
        "route",
        "sent",
    )

    def __init__(self, kind: str, host: str, port: int, *, route: str, private: bool, at: float) -> None:
        self.kind = kind
        self.host = host
        self.port = port
        self.route = route
        self.private = private
        self.at = at
        self.sent = 0
        self.received = 0
        self.end = ""
        self.denied: Denied | None = None
        self.dropped = False
        self._task = asyncio.current_task()

    def finish(self, end: str) -> None:
        """Note why it ended. The first reason stays."""
        self.end = self.end or end

    def deny(self, denied: Denied) -> None:
        """Record it as refused: by what it sent after it was open."""
        self.denied = denied

    def stop(self) -> None:
        """End it, because the policy no longer allows it."""
        self.finish("policy")
        if self._task is not None:
            self._task.cancel()


class Book:
    """The counters of one agent. `changed` is called when its report changes in more than bytes."""

    def __init__(
        self,
        agent: AgentName,
        changed: Callable[[], None],
        log: ConnectionLog,
        kept: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.open: set[Entry] = set()
        self._changed = changed
        self._log = log
        self._clock = clock
        self._records: deque[ConnectionRecord] = deque(maxlen=CONNECTIONS_KEPT)
        start = _decode(kept) if kept is not None else AgentReport()
        self._number, self._refused_number = _numbers(kept)
        self._refused: deque[tuple[int, tuple[str, int]]] = deque(maxlen=CONNECTIONS_KEPT)
        self._verdicts = Counter(start.verdicts)
        self._sent = start.sent
        self._received = start.received
        self._refusals = {(refusal.host, refusal.port): refusal for refusal in start.refusals}
        self._metered = dict(start.metered)

    @contextmanager
    def account(self, kind: str, host: str, port: int, *, route: str = "", private: bool = False) -> Iterator[Entry]:
        """Count a connection as open until the context ends."""
        entry = Entry(kind, host, port, route=route, private=private, at=self._clock())
        self.open.add(entry)
        self._refusals.pop((host, port), None)
        self._changed()
        try:
            yield entry
        except Denied as denied:
            if denied.counted:
                entry.dropped = True
            else:
                denied.counted = True
                entry.deny(denied)
            raise
        except asyncio.CancelledError:
            entry.finish("closed")
            raise
        except BaseException:
            entry.finish("error")
            raise
        finally:
            self._close(entry)

    def refuse(self, kind: str, host: str, port: int, denied: Denied) -> None:
        """Count a refusal, once."""
        if denied.counted:
            return
        denied.counted = True
        now = self._clock()
        self._verdicts[denied.verdict] += 1
        self._refuse(host, port, denied.verdict, now)
        self._record(ConnectionRecord(0, now, kind, host, port, denied.verdict, denied.phrase, end="closed"))

    def forget_refusals(self, allowed: Callable[[str, int], bool]) -> None:
        """Drop the refusals of hosts and ports that are allowed now."""
        for (host, port), refusal in list(self._refusals.items()):
            if refusal.verdict in (Verdict.NOT_LISTED, Verdict.CEILING) and allowed(host, port):
                del self._refusals[host, port]

    def meter(self, tokens: Metered) -> None:
        """Add tokens to those of today."""
        day = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")
        sums = self._metered.get(day, Metered())
        self._metered[day] = Metered(
            sums.requests + tokens.requests,
            sums.input + tokens.input,
            sums.output + tokens.output,
            sums.cached + tokens.cached,
        )
        for old in sorted(self._metered)[:-DAYS_KEPT]:
            del self._metered[old]
        self._changed()

    def report(self, problem: str = "") -> AgentReport:
        """Return the sums of now."""
        return AgentReport(
            len(self.open),
            dict(self._verdicts),
            self._sent + sum(entry.sent for entry in self.open),
            self._received + sum(entry.received for entry in self.open),
            tuple(self._refusals.values()),
            dict(self._metered),
            problem,
        )

    def connections(self, after: int) -> list[ConnectionRecord]:
        """Return what ended or was refused after a number, and then all that is open, oldest first.

        A connection has its number from its end on, so a reader that asks from the last one misses no end.
        """
        ended = [record for record in self._records if record.number > after]
        now = self._clock()
        return ended + [_record(entry, now) for entry in sorted(self.open, key=lambda entry: entry.at)]

    def refused_after(self, number: int) -> tuple[list[tuple[str, int, int]], int]:
        """Return the hosts and ports that were refused after a number, with counts, and the last number."""
        counts = Counter(target for refused, target in self._refused if refused > number)
        return [(host, port, count) for (host, port), count in counts.items()], self._refused_number

    def encode(self) -> dict[str, object]:
        """Return what survives a restart."""
        return {**encode_agent(self.report()), "number": self._number, "refused": self._refused_number}

    def _close(self, entry: Entry) -> None:
        self.open.discard(entry)
        if entry.dropped:
            self._changed()
            return
        entry.finish("closed")
        self._sent += entry.sent
        self._received += entry.received
        record = _record(entry, self._clock())
        self._verdicts[record.verdict] += 1
        if entry.denied is not None:
            # the agent may reach the host of the connection: to ask for it would be of no use
            name = entry.denied.host
            self._refuse(name or entry.host, entry.port, record.verdict, self._clock(), is_new=bool(name))
        self._record(record)

    def _record(self, record: ConnectionRecord) -> None:
        self._number += 1
        numbered = replace(record, number=self._number)
        self._records.append(numbered)
        self._log.add(numbered)
        self._changed()

    def _refuse(self, host: str, port: int, verdict: Verdict, now: float, *, is_new: bool = True) -> None:
        """Keep a refusal by its host and port, if it was of these. `is_new`: the agent is told of it."""
        if verdict not in _SHOWN:
            return
        key = (host, port)
        if is_new:
            self._refused_number += 1
            self._refused.append((self._refused_number, key))
        if key not in self._refusals and len(self._refusals) >= REFUSALS_LIMIT - 1:
            key = OTHERS
        old = self._refusals.get(key) or Refusal(*key, verdict, 0, now, now)
        self._refusals[key] = replace(old, verdict=verdict, count=old.count + 1, last=now)


def _record(entry: Entry, now: float) -> ConnectionRecord:
    verdict, reason = (entry.denied.verdict, entry.denied.phrase) if entry.denied else (Verdict.ALLOWED, "")
    seconds = round(max(0.0, now - entry.at), 3)
    return ConnectionRecord(
        0,
        entry.at,
        entry.kind,
        entry.host,
        entry.port,
        verdict,
        reason,
        entry.sent,
        entry.received,
        seconds,
        entry.end,
    )


def _numbers(kept: Mapping[str, Any] | None) -> tuple[int, int]:
    """Return the numbers to go on from: of connections, and of refusals. Raise BadInput."""
    if kept is None:
        return 0, 0
    try:
        return int(kept["number"]) + NUMBERS_SKIPPED, int(kept["refused"]) + NUMBERS_SKIPPED
    except (TypeError, ValueError, KeyError) as error:
        raise BadInput(f"no counters: {error}") from error


def _decode(kept: Mapping[str, Any]) -> AgentReport:
    """Return the sums of a kept book. Raise BadInput."""
    try:
        return AgentReport(
            0,
            {Verdict(name): int(count) for name, count in kept["verdicts"].items()},
            int(kept["sent"]),
            int(kept["received"]),
            tuple(Refusal(**{**row, "verdict": Verdict(row["verdict"])}) for row in kept["refusals"]),
            {str(day): Metered(**row) for day, row in kept["metered"].items()},
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"no counters: {error}") from error
