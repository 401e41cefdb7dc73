"""Where live events go: to the log, to those who watch, and over the link to hive."""

from __future__ import annotations

import logging
from typing import Protocol

from meta.wire.live import LiveEvent, Note

log = logging.getLogger(__name__)


class Bus(Protocol):
    """Takes live events. `emit` neither blocks nor raises."""

    def emit(self, event: LiveEvent) -> None:
        """Take one event."""


class LogBus:
    """The bus of a harness without an event log: it writes the notes to the harness's own log, and keeps nothing."""

    def emit(self, event: LiveEvent) -> None:
        """Log a note."""
        if isinstance(event, Note):
            log.info("%s", event.text)
