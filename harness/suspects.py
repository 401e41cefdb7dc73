"""A message whose turns are all parked: is that an outage, or is the message at fault? Pure.

An outage parks every message. So after some parked turns of one message another one gets a turn, if any waits, and then
the first one again, and so on in turn. A parked turn directly between two good ones of others is a proof against its
message. After some proofs the message is at fault: each of them pays for one parked turn that counts as failed. So an
outage that comes back again and again proves nothing against a message that only waits meanwhile.

The proofs come before the first failed turn, because hive delivers a message with a failed turn alone: then there is no
other one to compare it with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.runtimes.base import Ending, TurnOutcome
from meta.wire.agent import MessageResponse

MANY = 5
"""Parked turns of a message after which it may be at fault."""
SUSPECT_SECONDS = 300.0
"""Seconds since the first of them, at least: an outage of a few minutes needs no search."""
PROOFS = 3
"""Proofs after which a message is at fault. As many failed turns make a dead letter of it."""
KEPT = 100
"""Messages that are remembered, at most."""


@dataclass(frozen=True, slots=True)
class _Parked:
    turns: int
    since: float
    proofs: int = 0
    at_fault: bool = False


class Suspects:
    """The messages whose last turns were parked. `now` is in Unix seconds."""

    def __init__(self) -> None:
        self._parked: dict[int, _Parked] = {}
        self._after_good = False
        """The last turn was a good one."""
        self._between: int | None = None
        """The message whose turn was the last one, and was parked directly after a good one."""

    def suspected(self, id: int, now: float) -> bool:
        """Return True if another message shall have a turn before this one.

        Directly after a good turn it is the other way round: a turn of this message may prove something then.
        """
        return self._has_many(id, now) and not self._after_good

    def at_fault(self, id: int) -> bool:
        """Return True if a parked turn of this message is its own fault."""
        parked = self._parked.get(id)
        return parked is not None and parked.at_fault

    def choose(self, messages: Sequence[MessageResponse]) -> MessageResponse:
        """Return the one with the fewest parked turns, of several the first."""
        return min(messages, key=self._turns)

    def note(self, message: MessageResponse, outcome: TurnOutcome, now: float) -> int | None:
        """Note the end of a turn. Return the message that is at fault from now on, if that is news.

        A limit with a time at which it ends says nothing about the message.
        """
        parked = outcome.ending is Ending.PARKED and outcome.until is None
        between, after_good = self._between, self._after_good
        self._between = message.id if parked and after_good else None
        self._after_good = outcome.ok
        if parked:
            self._count(message.id, now)
        if not outcome.ok:
            return None
        self._parked.pop(message.id, None)
        return None if between is None else self._prove(between, now)

    def _count(self, id: int, now: float) -> None:
        parked = self._parked.get(id, _Parked(0, now))
        if not parked.at_fault:
            self._parked[id] = replace(parked, turns=parked.turns + 1)
        elif parked.proofs > 1:
            self._parked[id] = replace(parked, proofs=parked.proofs - 1)
        else:
            del self._parked[id]
        if len(self._parked) > KEPT:
            del self._parked[next(iter(self._parked))]

    def _prove(self, id: int, now: float) -> int | None:
        if not self._has_many(id, now):
            return None
        parked = self._parked[id]
        proofs = parked.proofs + 1
        self._parked[id] = replace(parked, proofs=proofs, at_fault=proofs >= PROOFS)
        return id if proofs >= PROOFS else None

    def _has_many(self, id: int, now: float) -> bool:
        parked = self._parked.get(id)
        if parked is None or parked.at_fault:
            return False
        return parked.turns >= MANY and now - parked.since >= SUSPECT_SECONDS

    def _turns(self, message: MessageResponse) -> int:
        parked = self._parked.get(message.id)
        return 0 if parked is None else parked.turns
