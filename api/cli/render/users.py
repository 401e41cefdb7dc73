"""Who did something, as people read it: a uid of this host with its user's name."""

from __future__ import annotations

import pwd
import re

_UID = re.compile(r"\buid (\d{1,10})\b")
_PUSH = "push by "


def named(by: str | None) -> str:
    """`operator uid 1000` as `operator ada (uid 1000)`. A uid without a name stays as it is."""
    return _UID.sub(lambda found: _user(int(found[1])), by or "")


def who(by: str | None) -> str:
    """As `named`; of a push who pushed."""
    return named(by).removeprefix(_PUSH)


def pushed(by: str | None) -> bool:
    """Whether it was a push, whoever is known to have made it."""
    return by == "push" or (by or "").startswith(_PUSH)


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OverflowError):
        return f"uid {uid}"
