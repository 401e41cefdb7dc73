"""Times in words, as `<time>` elements. `static/times.js` says the same in the viewer's zone, and keeps it true.

age    12 min          since when something is so
ago    12 min ago      when something happened
left   41 min          until something happens; "now" once it is past
clock  20:57:48        a time of today
date   29 Nov 2026, 20:57
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from markupsafe import Markup

_WORDS = re.compile(r"(<time\b[^>]*>)[^<]*")
MINUTE, HOUR, DAY = 60, 3_600, 86_400
LONGEST = 1e12
FORMS = ("age", "ago", "left", "clock", "date")


def span(seconds: float) -> str:
    """Return a length of time in one or two words: "48 s", "12 min", "1 h 21 min", "5 h", "3 d"."""
    whole = int(min(max(seconds, 0.0), LONGEST))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * HOUR:
        minutes = whole % HOUR // MINUTE
        return f"1 h {minutes} min" if minutes else "1 h"
    if whole < 2 * DAY:
        return f"{whole // HOUR} h"
    return f"{whole // DAY} d"


def words(at: float, now: float, form: str) -> str:
    """Return the words of a time. All forms but `age`, `ago` and `left` are in UTC."""
    match form:
        case "age":
            return span(now - at)
        case "ago":
            return "now" if now - at < 1 else f"{span(now - at)} ago"
        case "left":
            return "now" if at <= now else span(at - now)
        case "clock":
            return _moment(at).strftime("%H:%M:%S")
        case "date":
            return _date(at).rpartition(":")[0]
    raise ValueError(f"{form} is not a form of a time")


def time_element(at: float, now: float, form: str = "age") -> Markup:
    """Return `<time>` with the words, the exact time for people on hover, and for programs."""
    machine = _moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{} UTC" data-form="{}">{}</time>').format(
        machine, _date(at), form, words(at, now, form)
    )


def without_words(html: str) -> str:
    """Return `html` without the words of its times: they age, which alone is no change."""
    return _WORDS.sub(r"\1", html)


def _moment(at: float) -> datetime:
    bounded = min(max(at, 0.0), 253_402_300_799.0)  # the year 9999, the last one that datetime knows
    return datetime.fromtimestamp(bounded, UTC)


def _date(at: float) -> str:
    moment = _moment(at)
    return f"{moment.day} {moment.strftime('%b %Y, %H:%M:%S')}"
