"""Numbers in words, the same on every page."""

from __future__ import annotations

import re

_HASH = re.compile(r"[0-9a-f]{8,64}(-dirty)?")


def dollars(amount: float) -> str:
    """Return an amount as "$3.12", from $1,000 on without cents."""
    return f"${amount:,.0f}" if amount >= 1_000 else f"${amount:.2f}"


def count(number: float) -> str:
    """Return a large number in short: "412", "12 k", "1.9 M"."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            short = number / limit
            return f"{short:.0f} {unit}" if short >= 10 else f"{short:.1f} {unit}"
    return f"{number:.0f}"


def size(octets: float) -> str:
    """Return a size in bytes as "0.4 MB" (decimal units, as disks are sold)."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(octets) >= limit:
            return f"{octets / limit:.1f} {unit}"
    return f"{octets:.0f} B"


def percent(part: float, whole: float) -> int:
    """Return a part of a whole in percent, from 0 to 100."""
    return 0 if whole <= 0 else max(0, min(100, round(100 * part / whole)))


def plural(number: int, word: str, words: str | None = None) -> str:
    """Return "1 agent" or "2 agents"."""
    return f"{number:,} {word if number == 1 else words or word + 's'}"


def revision(text: str) -> str:
    """Return a revision in short: 7 digits of a hash, the whole of a version such as "0.1.0+b5fc10"."""
    return text[:7] if _HASH.fullmatch(text) else text[:20]
