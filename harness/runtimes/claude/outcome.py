"""What the lines of a turn say about its end. Pure.

The CLI's own words mislead: `subtype` is "success" for each failed request, and the exit code is 0 after a signal. So a
turn is judged by `is_error`, `terminal_reason` and the status of the API, and by whether there was a result at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from harness.runtimes.base import Ending, Fault
from harness.runtimes.claude.facts import Result
from meta.text import one_line

LONGEST_LIMIT = 8 * 86_400
"""Seconds until a limit resets, at most. A later time is not believed."""

_RESETS = re.compile(r"\bresets (?:at )?(\d{1,2})(?::(\d\d))? ?([ap]m)(?: \(([\w/+-]+)\))?", re.IGNORECASE)
_LOGIN = re.compile(
    r"not logged in|failed to authenticate|invalid api key|/login\b|oauth (?:token|session)", re.IGNORECASE
)
_OUTAGE = re.compile(
    r"overloaded|rate.?limit|limit reached|connection error|timed out|internal server error|"
    r"API Error: (?:408|429|5\d\d)\b",
    re.IGNORECASE,
)
_JUST = 3600
"""Seconds in which a time of the day counts as just passed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a turn ended, why in one line, until when a limit lasts, and what helps."""

    ending: Ending
    reason: str = ""
    until: float | None = None
    remedy: str = ""
    """A command that helps. AGENT stands for the agent's name."""
    person: bool = False
    """Only a person can mend it."""
    fault: Fault | None = None

    def describe(self, agent: str) -> str:
        """Return the reason and the command."""
        if not self.remedy:
            return self.reason
        return f"{self.reason.rstrip('.')}: `{self.remedy.replace('AGENT', agent)}`"


def judge(result: Result, error: str, limit: float | None, now: float, *, interrupted: bool) -> Judgement:
    """Return how a turn with this result ended.

    `error` is the kind of the last failed request, "" if there is none. `limit` is when the account's limit resets in
    Unix seconds, as the API said. `interrupted`: this host asked for the end.
    """
    if not result.is_error:
        return Judgement(Ending.OK)
    text = result.text or result.subtype or "the CLI named no reason"
    if interrupted and (result.reason.startswith("aborted") or result.subtype == "error_during_execution"):
        return Judgement(Ending.CANCELLED, "the turn was interrupted")
    if result.reason == "prompt_too_long" or result.status == 413 or text.startswith("Prompt is too long"):
        return Judgement(Ending.OVERFLOW, text)
    if result.reason in ("max_turns", "budget_exhausted") or result.subtype.startswith("error_max"):
        why = f"{text}: raise limits in agent.toml, or ask for less"
        return Judgement(Ending.REFUSED, why, fault=Fault.LIMIT)
    if result.reason.startswith("aborted") or (result.subtype == "error_during_execution" and not result.status):
        return Judgement(Ending.CRASHED, text)
    return _failed_request(result, error, text, limit, now)


def _failed_request(result: Result, error: str, text: str, limit: float | None, now: float) -> Judgement:
    status = result.status
    if status == 429 or error == "rate_limit" or result.error == "usage_limit_reached":
        return Judgement(Ending.PARKED, text, _until(limit, text, now))
    if status in (401, 403) or error == "authentication_failed" or (status is None and _LOGIN.search(text)):
        return Judgement(Ending.NEEDS_LOGIN, text, remedy="hive login AGENT")
    if status == 404 or error == "model_not_found":
        return Judgement(Ending.PARKED, text.split(" Run --model")[0], remedy="hive model AGENT NAME", person=True)
    if status == 402 or error == "billing_error" or "credit balance" in text.lower():
        return Judgement(Ending.PARKED, text, person=True)
    if status is None or status >= 500 or status == 408:
        return Judgement(Ending.PARKED, text)
    return Judgement(Ending.REFUSED, text)


def judge_compaction(text: str) -> Ending:
    """Return how a compaction ended whose result is a success, by the error that the CLI named beside it."""
    if _LOGIN.search(text):
        return Ending.NEEDS_LOGIN
    return Ending.PARKED if _OUTAGE.search(text) else Ending.REFUSED


def judge_end(code: int | None, stderr: str) -> Judgement:
    """Return how a turn without a result ended: `code` is the exit code of the CLI, None if it only closed stdout."""
    last = stderr.strip().splitlines()[-1:] or [""]
    if code is None:
        how = "claude closed its output"
    else:
        how = f"claude ended with exit code {code}" if code >= 0 else f"claude was ended by signal {-code}"
    return Judgement(Ending.CRASHED, one_line(f"{how} in the turn{': ' if last[0] else ''}{last[0]}"))


def _until(limit: float | None, text: str, now: float) -> float | None:
    """Return until when a limit lasts. The API's own time counts before the text, which has the time of day only."""
    return believable(limit if limit is not None else reset_time(text, now), now)


def believable(when: float | None, now: float) -> float | None:
    """Return a time at which a limit resets if it may be true: it lies ahead, and not too far."""
    return when if when is not None and now < when <= now + LONGEST_LIMIT else None


def reset_time(text: str, now: float) -> float | None:
    """Return the next time that `resets 3:42am (UTC)` in a text names; None if there is none.

    A time that is less than an hour ago just passed: it is not tomorrow's.
    """
    found = _RESETS.search(text)
    if found is None or not 1 <= int(found[1]) <= 12 or int(found[2] or 0) > 59:
        return None
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "pm" else 0)
    today = datetime.fromtimestamp(now, _zone(found[4]))
    when = today.replace(hour=hour, minute=int(found[2] or 0), second=0, microsecond=0)
    passed = now - when.timestamp()
    return (when if passed < 0 or 0 < passed < _JUST else when + timedelta(days=1)).timestamp()


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name and name != "UTC" else UTC
    except (OSError, ValueError, KeyError):  # KeyError: ZoneInfoNotFoundError is one
        return UTC
