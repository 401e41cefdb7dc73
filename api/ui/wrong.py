"""The page about an error: the ways on from it, and what a person had typed. Pure."""

from __future__ import annotations

from collections.abc import Iterable

WAYS = (
    ("/agents", "Agents"),
    ("/messages", "Messages"),
    ("/deploys", "Deploys"),
    ("/questions", "Questions"),
    ("/plan", "Plan"),
    ("/events", "Events"),
    ("/host", "Host"),
    ("/settings", "Settings"),
)
"""The pages of the navigation but for the first one."""
HIDDEN = frozenset(
    {"agent", "assertion", "base", "credential", "csrf", "ids", "key", "login", "next", "propose", "purge"}
    | {"request", "seen", "shown", "side", "touch", "unseen"}
)
"""Fields that forms send and nobody types; the name of a new agent is the exception."""


def ways_from(path: str) -> tuple[tuple[str, str], ...]:
    """Return path and words of the pages to go on from the one at `path`, the nearest first."""
    path = path.removeprefix("/live")
    near = [way for way in WAYS if path == way[0] or path.startswith(f"{way[0]}/")]
    return (*near, ("/", "Needs you"))


def typed_of(fields: Iterable[tuple[str, str]], path: str) -> list[tuple[str, str]]:
    """Return the fields of a form, posted to `path`, that a person filled in."""
    hidden = HIDDEN - {"agent"} if path == "/new-agent" else HIDDEN
    return [(key, text) for key, text in fields if key not in hidden and text]
