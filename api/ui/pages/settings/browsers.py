"""A browser's own description in a few words that tell one's devices apart. Pure."""

from __future__ import annotations

_NAMES = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""The first that is found counts: most browsers name others too."""
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_MOST = 40


def in_words(description: str) -> str:
    """Return "Firefox on Android"; the beginning of the description if it names neither."""
    name = next((word for mark, word in _NAMES if mark in description), "")
    system = next((word for mark, word in _SYSTEMS if mark in description), "")
    if name and system:
        return f"{name} on {system}"
    return name or system or description[:_MOST] or "unknown"
