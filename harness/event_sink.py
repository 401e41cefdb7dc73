"""Where live events go: to the log, to those who watch, and over the link to hive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.asides import Aside
from meta.wire.live import AnyItem, LiveEvent


class EventSink(Protocol):
    """Takes live events. No method blocks or raises."""

    def emit(self, event: LiveEvent) -> None:
        """Take one event."""

    def line(self, items: Sequence[AnyItem], line: object) -> None:
        """Take one line of the CLI, and what it means. Pieces of a text are only for those who watch now."""

    def aside(self, aside: Aside) -> None:
        """Take what only those see who watch the turn now."""

    def count(self, items: Sequence[AnyItem]) -> None:
        """Count what is unknown in a line of the CLI that is not kept."""
