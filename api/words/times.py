"""Times as people write them at a terminal, and as hive shows them."""

from __future__ import annotations

import re
import time

from meta.errors import BadInput

_SPAN = re.compile(r"(\d{1,6})([smhd])")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def span(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `2h` or `3d`. Raise BadInput for anything else."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise BadInput(f"{text[:40]!r} is not a time span", "write a number and s, m, h or d: 10m")
    return float(match[1]) * _UNITS[match[2]]


def moment(text: str) -> float:
    """Return the Unix time, at least 0, of an ISO date or time, local if it has no zone. Raise BadInput otherwise."""
    from datetime import datetime  # slow to import, and few commands need it

    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"{text[:40]!r} is not a date or time", "write it as 2026-05-01T12:00") from error


def day(text: str, now: float) -> float | None:
    """Return the local midnight at which `today`, `yesterday` or the last `monday` began; None for other words."""
    from datetime import datetime, timedelta

    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ006 - local
    word = text.strip().lower()
    if word in ("today", "yesterday"):
        return (today - timedelta(days=word == "yesterday")).timestamp()
    if word not in _DAYS:
        return None
    return (today - timedelta(days=(today.weekday() - _DAYS.index(word) - 1) % 7 + 1)).timestamp()


def since_of(text: str, now: float) -> float:
    """Return the Unix time of --since: a time span before `now`, a day, or a date or time. Raise BadInput otherwise."""
    begin = day(text, now)
    if begin is not None:
        return begin
    try:
        return now - span(text) if _SPAN.fullmatch(text) else moment(text)
    except BadInput as error:
        remedy = "write how long ago, as 90s, 10m, 2h or 3d, or when, as yesterday, monday or 2026-05-01T12:00"
        raise BadInput(f"--since {text[:40]!r} is not a time", remedy) from error


def local_time(at: float | None) -> str:
    """Return a Unix time as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else ""


def short_time(at: float | None) -> str:
    """Return a Unix time as local time, with the date if it is not of today. None is now."""
    moment = time.localtime(at)
    return time.strftime("%H:%M:%S" if moment[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M:%S", moment)


def age(at: float | None) -> str:
    """Return how long ago a Unix time was, in one unit."""
    if at is None:
        return ""
    seconds = max(0, int(time.time() - at))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
