"""A message whose turns are all parked: is that an outage, or is the message at fault? Pure.

An outage parks every message. So after some parked turns of one message another one gets a turn, if any waits. If that
ends well, the first one is at fault, and its parked turns count as failed from then on.
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
KEPT = 100
"""Messages that are remembered, at most."""


@dataclass(frozen=True, slots=True)
class _Parked:
    turns: int
    since: float
    at_fault: bool = False


class Suspects:
    """The messages whose last turns were parked. `now` is in Unix seconds."""

    def __init__(self) -> None:
        self._parked: dict[int, _Parked] = {}

    def suspected(self, id: int, now: float) -> bool:
        """Return True if another message shall have a turn before this one."""
        parked = self._parked.get(id)
        if parked is None or parked.at_fault:
            return False
        return parked.turns >= MANY and now - parked.since >= SUSPECT_SECONDS

    def at_fault(self, id: int) -> bool:
        """Return True if a parked turn of this message is its own fault."""
        parked = self._parked.get(id)
        return parked is not None and parked.at_fault

    def choose(self, messages: Sequence[MessageResponse]) -> MessageResponse:
        """Return the one with the fewest parked turns, of several the first."""
        return min(messages, key=self._turns)

    def note(self, message: MessageResponse, outcome: TurnOutcome, now: float) -> list[int]:
        """Note the end of a turn. Return the messages that are at fault from now on.

        A limit with a time at which it ends says nothing about the message.
        """
        if outcome.ending is Ending.PARKED and outcome.until is None:
            parked = self._parked.get(message.id, _Parked(0, now))
            self._parked[message.id] = replace(parked, turns=parked.turns + 1)
            if len(self._parked) > KEPT:
                del self._parked[next(iter(self._parked))]
        if not outcome.ok:
            return []
        self._parked.pop(message.id, None)
        found = [id for id in self._parked if self.suspected(id, now)]
        self._parked = {
            id: replace(parked, at_fault=True) for id, parked in self._parked.items() if parked.at_fault or id in found
        }
        return found

    def _turns(self, message: MessageResponse) -> int:
        parked = self._parked.get(message.id)
        return 0 if parked is None else parked.turns
