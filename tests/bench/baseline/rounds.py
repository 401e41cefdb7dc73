"""Alternating rounds of two programs: what one has of the other, its spread, and whether an aim is missed. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Aim:
    """What a ratio must reach: at least `least`, or at most `most`."""

    least: float | None = None
    most: float | None = None

    def misses(self, ratios: Sequence[float]) -> bool:
        """Return True only if every round is beyond the aim."""
        return (self.least is not None and max(ratios) < self.least) or (
            self.most is not None and min(ratios) > self.most
        )

    @property
    def text(self) -> str:
        """Return it as the table has it."""
        return f"≥ {self.least:g}x" if self.least is not None else f"≤ {self.most:g}x" if self.most is not None else ""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: its values of today and of the other program, round by round. `beside` names the other."""

    name: str
    unit: str
    today: Sequence[float]
    other: Sequence[float]
    beside: str
    aim: Aim

    @property
    def ratios(self) -> tuple[float, ...]:
        """Return the ratio of each round."""
        return tuple(now / then for now, then in zip(self.today, self.other, strict=True))

    @property
    def met(self) -> bool:
        """Return False if the aim is missed."""
        return not self.aim.misses(self.ratios)

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table: figure, today, the other, ratio with its spread, aim, verdict."""
        ratios = self.ratios
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        return (
            self.name,
            f"{statistics.median(self.today):,.4g} {self.unit}",
            f"{statistics.median(self.other):,.4g} {self.unit} ({self.beside})",
            f"{middle:.2f}x ({low:.2f} to {high:.2f})",
            self.aim.text,
            "" if not self.aim.text else "met" if self.met else "MISSED",
        )


HEAD = ("figure", "today", "beside it", "ratio", "aim", "")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
