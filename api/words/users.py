"""The author of an event, for people: a uid of this host with the name of its user."""

from __future__ import annotations

import pwd
import re

_UID = re.compile(r"\buid (\d{1,10})\b")
_PUSH = "push by "


def with_names(by: str | None) -> str:
    """Return `operator uid 1000` as `operator ada (uid 1000)`. A uid without a user stays as it is."""
    return _UID.sub(lambda match: _user(int(match[1])), by or "")


def person(by: str | None) -> str:
    """Return `by` with names; for a push, the user who pushed."""
    return with_names(by).removeprefix(_PUSH)


def is_push(by: str | None) -> bool:
    """Return True if `by` was a push, with or without a known user."""
    return by == "push" or (by or "").startswith(_PUSH)


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OverflowError):
        return f"uid {uid}"
