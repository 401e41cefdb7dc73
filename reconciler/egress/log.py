"""The log of `hive-egress`: one line per connection that ended, on stderr. Never a header, a path or a key."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from meta.network.report import ConnectionRecord
from reconciler.egress.limits import LINES_AT_ONCE, LINES_PER_SECOND, Rate

Write = Callable[[str], None]


def write_line(text: str) -> None:
    """Write a line to stderr. A log that cannot be written ends nothing."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        return


class ConnectionLog:
    """The lines about one agent. An agent that asks in a circle fills no disk: the lines beyond a pace are counted."""

    def __init__(self, agent: str, write: Write = write_line, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent
        self._write = write
        self._clock = clock
        self._rate = Rate(LINES_PER_SECOND, LINES_AT_ONCE, clock())
        self._omitted = 0

    def add(self, record: ConnectionRecord) -> None:
        """Write the line of a connection that ended or was refused."""
        if self._rate.take(self._clock()):
            self._omitted += 1
            return
        if self._omitted:
            self._write(f"{self._agent} {self._omitted} lines left out")
            self._omitted = 0
        self._write(
            f"{self._agent} {record.kind} {record.host or '-'}:{record.port} {record.verdict.value} {record.end} "
            f"sent={record.sent} received={record.received} seconds={record.seconds:.3f}"
        )
