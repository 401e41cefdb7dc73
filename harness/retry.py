"""What follows from the end of a turn. Pure.

    ok                        acknowledge
    parked                    give the messages back, and wait: until the time that the CLI names, else a growing delay
    parked, by its own fault  a failed turn (harness.suspects), and the longest delay: it may be an outage after all
    needs-login               give the messages back, and wait for a login
    cancelled by the operator acknowledge: the work is discarded
    cancelled by a pause      give the messages back; the pause itself holds the agent, hive's or that of the pod
    everything else           a failed turn: hive counts it, and makes a dead letter of the third

A message that is given back has no failed turn. So an outage of any length loses none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from harness.hold import Wait
from harness.runtimes.base import Ending, TurnOutcome
from harness.stop import Cause
from meta.wire.link import TurnState

FIRST_DELAY = 5.0
LONGEST_DELAY = 300.0
"""Seconds until a parked turn is tried again: the first, doubling up to the longest, each cut by up to half at random.
"""
SPREAD = 5.0
"""Seconds after the end of a limit in which the agents of a swarm go on, each at a random one."""
LONGEST_LIMIT = 8 * 86_400.0
"""Seconds that a limit lasts, at most: a week and a day. A CLI that names a later time is asked again then."""

LONG_OUTAGE = 16
"""Parked turns in a row after which the delay is the longest."""
MANY = 5
"""Parked turns in a row after which the reason has their number: it may be the message, and no outage."""


class Action(StrEnum):
    """What happens to the messages of the turn."""

    ACKNOWLEDGE = "acknowledge"
    RELEASE = "release"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class History:
    """What was before: the parked turns in a row, and those in a row that the login was refused for."""

    parked: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What follows. `wait` keeps the next turn back. `note` is a sentence for those who watch."""

    action: Action
    history: History
    wait: Wait | None = None
    note: str = ""


def follow(
    outcome: TurnOutcome,
    cause: Cause | None,
    history: History,
    now: float,
    random: float,
    *,
    at_fault: bool = False,
) -> Next:
    """Return what follows. `cause`: who asked for the end. `now` is in Unix seconds, `random` between 0 and 1.

    `at_fault`: if the turn is parked, its message is to blame.
    """
    match outcome.ending:
        case Ending.OK:
            return Next(Action.ACKNOWLEDGE, History())
        case Ending.PARKED if at_fault and outcome.until is None:
            until = _until(None, LONG_OUTAGE, now, random)
            wait = Wait(TurnState.PARKED, outcome.reason, until, outcome.person)
            return Next(Action.COUNT, replace(history, parked=history.parked + 1), wait)
        case Ending.PARKED:
            until = _until(outcome.until, history.parked, now, random)
            parked = history.parked + 1
            reason = f"try {parked}: {outcome.reason}" if parked >= MANY else outcome.reason
            wait = Wait(TurnState.PARKED, reason, until, outcome.person)
            return Next(Action.RELEASE, replace(history, parked=parked), wait)
        case Ending.NEEDS_LOGIN:
            refused = replace(history, refused=history.refused + 1)
            return Next(Action.RELEASE, refused, Wait(TurnState.NEEDS_LOGIN, outcome.reason))
        case Ending.CANCELLED if cause is Cause.OPERATOR:
            return Next(Action.ACKNOWLEDGE, history, note="cancelled by the operator: its messages count as done")
        case Ending.CANCELLED if cause is Cause.POD:
            return Next(Action.RELEASE, history, note="paused by a client of its pod")
        case Ending.CANCELLED if cause is Cause.PAUSE:
            return Next(Action.RELEASE, history, note="stopped by a pause: its messages come again")
        case _:
            return Next(Action.COUNT, history)


def login_delay(history: History) -> float:
    """Return for how many seconds a change of the credentials begins no turn: a CLI may change them with each one."""
    return 0.0 if history.refused <= 1 else min(FIRST_DELAY * 2.0 ** min(history.refused - 2, 16), LONGEST_DELAY)


def _until(named: float | None, parked: int, now: float, random: float) -> float:
    if named is not None and named > now:
        return min(named, now + LONGEST_LIMIT) + SPREAD * random
    delay = min(FIRST_DELAY * 2.0 ** min(parked, LONG_OUTAGE), LONGEST_DELAY)
    return now + delay * (1 - random / 2)
