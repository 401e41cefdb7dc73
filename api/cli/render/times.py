"""Times as people write them at a terminal."""

from __future__ import annotations

import re

from meta.errors import BadInput

_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def span(text: str) -> float:
    """Seconds of `90s`, `10m`, `2h`, `3d`. Raises BadInput."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise BadInput(f"{text[:40]!r} is no time span", "write a number and s, m, h or d: 10m")
    return float(match[1]) * _UNITS[match[2]]


def moment(text: str) -> float:
    """Unix seconds of an ISO date or time, local where it names no zone; not before 1970. Raises BadInput."""
    from datetime import datetime  # it takes a while, and most commands name no time

    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"{text[:40]!r} is no date or time", "write it as 2026-05-01T12:00") from error


def since_of(text: str, now: float) -> float:
    """The Unix time of --since: a span before `now`, or a moment. Raises BadInput."""
    try:
        return now - span(text) if _SPAN.fullmatch(text) else moment(text)
    except BadInput as error:
        remedy = "say how long ago, as 90s, 10m, 2h or 3d, or when, as 2026-05-01T12:00"
        raise BadInput(f"--since {text[:40]!r} is no time", remedy) from error
