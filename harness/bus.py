"""Where live events go: to the log, to those who watch, and over the link to hive."""

from __future__ import annotations

from typing import Protocol

from meta.wire.live import LiveEvent


class Bus(Protocol):
    """Takes live events. `emit` neither blocks nor raises."""

    def emit(self, event: LiveEvent) -> None:
        """Take one event."""
