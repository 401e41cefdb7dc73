"""Log lines that an agent can cause, bounded for each agent and kind: the log is for all of them.

A filter of a logger: records with the extra field `limited` (a key such as "alice link") are counted. After BURST of
them one is written in each INTERVAL, with the number of those that were left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from typing_extensions import override

BURST = 5
INTERVAL = 60.0
KEYS_MOST = 10_000


class LogLimit(logging.Filter):
    """The counts of one daemon. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record that is left out; add to the next one how many were."""
        key = getattr(record, "limited", None)
        if key is None:
            return True
        now = self._clock()
        begun, count = self._seen.get(key, (now, 0))
        left_out = max(0, count - BURST)
        if now - begun >= INTERVAL:
            begun, count = now, 0
            if left_out:
                record.msg = f"{record.getMessage()} ({left_out} more like this were left out)"
                record.args = ()
                count = BURST - 1  # still a flood: one line in each interval
        if len(self._seen) >= KEYS_MOST:
            self._seen.clear()
        self._seen[key] = begun, count + 1
        return count < BURST
