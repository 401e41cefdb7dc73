"""Incidents in which the daemon had no file descriptor left: one line and one count for each, not one for each failure.

While there is none, no connection is accepted and no program starts. Each is tried again, so an incident ends by itself
once descriptors are free.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import time
from collections.abc import Callable

from typing_extensions import override

log = logging.getLogger(__name__)

LACKING = frozenset({errno.EMFILE, errno.ENFILE})
QUOTE = os.strerror(errno.EMFILE)
"""What the error says. That of ENFILE begins with it."""
OVER = 10.0
"""Seconds without a failure after which an incident is over. A server tries once a second."""


def lacks(error: BaseException | None) -> bool:
    """Return True if `error`, or what caused it, is a lack of descriptors."""
    for _ in range(10):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in LACKING:
            return True
        error = error.__cause__ or error.__context__
    return False


class Descriptors:
    """The incidents of one daemon. `on_incident` is called once for each. `clock` gives seconds that only grow."""

    def __init__(self, on_incident: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._on_incident = on_incident
        self._clock = clock
        self._last: float | None = None

    def lasts(self) -> bool:
        """Return True while there was a failure not long ago."""
        return self._last is not None and self._clock() - self._last < OVER

    def fail(self) -> None:
        """Record that something failed because there was no descriptor."""
        lasted, self._last = self.lasts(), self._clock()
        if lasted:
            return
        self._on_incident()
        log.error("%s; new connections and commands wait until some are free", describe())

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know."""
        return (f"{describe()}; {REMEDY}",) if self.lasts() else ()


REMEDY = "close connections, or raise LimitNOFILE= in the unit (`ulimit -Hn`)"


def describe() -> str:
    """Return what is wrong, with the limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"the daemon has no file descriptor left: it may have {limit} open"


def is_at_limit() -> bool:
    """Return True if the process can open no file now."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in LACKING
    return False


class DescriptorFilter(logging.Filter):
    """Leaves out each record of an error that a lack of descriptors caused: the line of the incident says it once.

    Also a record that only quotes such an error, while the daemon itself lacks descriptors or did not long ago: what an
    agent's program complains about stays. A critical record stays, without its traceback.
    """

    def __init__(self, descriptors: Descriptors) -> None:
        super().__init__()
        self._descriptors = descriptors

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record that is left out."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if lacks(error):
            record.exc_info = record.exc_text = None
        elif not self._is_quoted(record):
            return True
        self._descriptors.fail()
        return record.levelno >= logging.CRITICAL

    def _is_quoted(self, record: logging.LogRecord) -> bool:
        return QUOTE in record.getMessage() and (self._descriptors.lasts() or is_at_limit())
