"""What a failure means, as data: the first rule that matches decides the ending. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.runtimes.base import Ending

Path = tuple[str | int, ...]
"""Keys and indexes that lead into a JSON value."""


def look_up(value: object, path: Path) -> Any:
    """Return what is at `path` in a JSON value; None if it is not there."""
    for key in path:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value


@dataclass(frozen=True, slots=True)
class Failure:
    """A turn that failed, as the agent says it: a code of JSON-RPC, a kind in its own words, and a text for people."""

    text: str
    code: int | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Failures and their ending. `codes` are ranges; `kind` and `text` are patterns. None: it may be anything."""

    ending: Ending
    codes: tuple[tuple[int, int], ...] | None = None
    kind: str | None = None
    text: str | None = None

    def matches(self, failure: Failure) -> bool:
        """Return True if this rule is for `failure`."""
        code = failure.code
        return (
            (self.codes is None or (code is not None and any(low <= code <= high for low, high in self.codes)))
            and (self.kind is None or re.fullmatch(self.kind, failure.kind, re.IGNORECASE) is not None)
            and (self.text is None or re.search(self.text, failure.text, re.IGNORECASE) is not None)
        )


TOO_LONG = Rule(Ending.OVERFLOW, text=r"context.(window|length)|(prompt|input) is too long|token count .* exceeds")
WRONG_MODEL = Rule(
    Ending.PARKED,
    text=r"(unknown|invalid|unsupported|no such) model"
    r"|models?\b.{0,80}(not found|not supported|does not exist)|model_not_found",
)

COMMON = (
    TOO_LONG,
    Rule(Ending.NEEDS_LOGIN, codes=((-32000, -32000), (401, 401), (403, 403))),
    Rule(Ending.NEEDS_LOGIN, kind=r".*auth.*"),
    Rule(Ending.PARKED, codes=((404, 404), (408, 408), (429, 429), (500, 599))),
    Rule(Ending.PARKED, kind=r"rate_limit|server_error|overloaded|billing.*|.*(timeout|notfound|connection).*"),
    Rule(Ending.NEEDS_LOGIN, text=r"\b401\b|unauthorized|api[ _]key|not logged in|/login\b"),
    WRONG_MODEL,
    # no lone number and no lone word such as "socket": they are in messages about the agent's own work, too
    Rule(
        Ending.PARKED,
        text=r"^\W*(404|408|429|5\d\d)\b"
        r"|\b(?<!exit )(http|status|code|error|response)( code)?(/[\d.]+)?\W{0,3}(404|408|429|5\d\d)\b"
        r"|\b(404|408|429|5\d\d) (not found|request timeout|too many requests|internal server error|bad gateway"
        r"|service unavailable|gateway timeout)|rate.?limit|too many requests|quota|overloaded|unavailable|timed? ?out"
        r"|network (error|is unreachable|timeout)|ECONN|ENOTFOUND|EAI_AGAIN|socket (hang up|closed|error|timeout)"
        r"|socket connection was|^terminated$|fetch failed|stream disconnected|error sending request|reconnect",
    ),
)
"""Rules for every agent, after those of its preset. A failure that no rule matches is `refused`."""


def ending_of(failure: Failure, rules: Sequence[Rule]) -> Ending:
    """Return the ending of a failed turn."""
    return next((rule.ending for rule in (*rules, *COMMON) if rule.matches(failure)), Ending.REFUSED)
