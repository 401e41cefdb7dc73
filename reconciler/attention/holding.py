"""The rows that a rule holds back from being notified, as lines for the status. Pure, but for what is noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo


@dataclass(frozen=True, slots=True)
class Held:
    """New rows, `count` of them, that wait until `until` (Unix seconds) because of `setting`."""

    count: int
    until: float
    setting: str

    def describe(self, zone: tzinfo | None) -> str:
        """Return one line, with the time as a clock of `zone` shows it (None: the host's local time)."""
        clock = datetime.fromtimestamp(self.until, zone).strftime("%H:%M")
        rows = "1 row waits" if self.count == 1 else f"{self.count} rows wait"
        return f"notifications: {rows} until {clock}, {self.setting}"


class Holding:
    """The rows that are held back now. The notifier notes them, the status shows them."""

    def __init__(self) -> None:
        self._held: tuple[Held, ...] = ()
        self._zone: tzinfo | None = None

    def note(self, held: Iterable[Held], zone: tzinfo | None) -> frozenset[str]:
        """Note what is held back now. Return the settings that begin to hold rows back."""
        before = {each.setting for each in self._held}
        self._held, self._zone = tuple(held), zone
        return frozenset(each.setting for each in self._held) - before

    def notes(self) -> tuple[str, ...]:
        """Return one line for each setting that holds rows back."""
        return tuple(each.describe(self._zone) for each in self._held)
