"""One figure: median and spread of n runs, beside a floor and an aim."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Figure:
    """`ratio` is value / floor; `met` compares the ratio (or the value) with the aim, None without one."""

    name: str
    value: float
    unit: str
    n: int
    spread: float
    floor: float | None = None
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        """For build/bench.json."""
        return asdict(self)

    @override
    def __str__(self) -> str:
        beside = f", floor {self.floor:.3g} {self.unit}, ratio {self.ratio:.2f}" if self.floor and self.ratio else ""
        verdict = "" if not self.aim else f"  aim {self.aim}: {'met' if self.met else 'NOT MET'}"
        why = f"\n    {self.why}" if self.why and self.met is False else ""
        return f"{self.name}: {self.value:.3g} {self.unit} (±{self.spread:.2g}, n={self.n}){beside}{verdict}{why}"


def figure(
    name: str,
    unit: str,
    runs: Sequence[float],
    *,
    floor: Sequence[float] = (),
    at_most: float | None = None,
    ratio_at_most: float | None = None,
    ratio_at_least: float | None = None,
    at_least: float | None = None,
    over_at_most: float | None = None,
    at: Callable[[Sequence[float]], float] = statistics.median,
    why: str = "",
) -> Figure:
    """The median of `runs`, or what `at` makes of them.

    The aim is on the value (`at_most`, `at_least`), its ratio to the floor (`ratio_at_most`, `ratio_at_least`), or what
    it has more than the floor (`over_at_most`).
    """
    value, base = at(runs), at(floor) if floor else None
    ratio = value / base if base else None
    met: bool | None = None
    aim = ""
    if ratio_at_most is not None and ratio is not None:
        met, aim = ratio <= ratio_at_most, f"{ratio_at_most:g}x"
    elif ratio_at_least is not None and ratio is not None:
        met, aim = ratio >= ratio_at_least, f"at least {ratio_at_least:g}x"
    elif over_at_most is not None and base is not None:
        met, aim = value - base <= over_at_most, f"at most {over_at_most:g} {unit} over the floor"
    elif at_most is not None:
        met, aim = value <= at_most, f"{at_most:g} {unit}"
    elif at_least is not None:
        met, aim = value >= at_least, f"at least {at_least:g} {unit}"
    spread = (max(runs) - min(runs)) / 2
    return Figure(name, value, unit, len(runs), spread, base, ratio, aim, met, why)


def percentile(number: int) -> Callable[[Sequence[float]], float]:
    """Return what takes this percentile of values: infinity of none."""

    def at(values: Sequence[float]) -> float:
        return sorted(values)[min(len(values) - 1, len(values) * number // 100)] if values else float("inf")

    return at
