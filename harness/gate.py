"""The gate for turns: the turn state with its reason, what keeps turns from beginning, and the turn that runs.

This is the one table of states. The loop, the link and the controls change its inputs; harness.hold derives the state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.hold import Inputs, PauseMemory, Wait, derive
from harness.stop import Cause, Stop
from meta.text import one_line
from meta.wire.link import Hold, State, TurnState

REASON_LIMIT = 500
NO_MEMORY = PauseMemory(None)

Listener = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Status:
    """The turn state. `since` and `until` are Unix seconds. `number` is that of the turn that runs, or the latest."""

    state: TurnState
    since: float
    reason: str = ""
    until: float | None = None
    number: int = 0
    person: bool = False
    """It waits for what only a person can mend."""
    context: int | None = None
    """Tokens in the conversation's context after its last turn or compaction; None: not known."""
    window: int | None = None
    """Tokens that the context may have; None: not known."""

    def line(self, probe: int | None = None) -> State:
        """Return the status as a line of the link."""
        return State(
            state=self.state,
            probe=probe,
            turn=self.number,
            since=self.since,
            until=self.until,
            reason=self.reason,
            person=self.person,
            context=self.context,
            window=self.window,
        )


class Gate:
    """The turn state, and whether a turn may begin. For one event loop."""

    def __init__(self, memory: PauseMemory = NO_MEMORY, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._memory = memory
        self._inputs = Inputs(hold=memory.load())
        self._listeners: list[Listener] = []
        self._began = time.monotonic()
        self._changed = asyncio.Event()
        self._stop: Stop | None = None
        self._waiting: dict[TurnState, float] = {}
        state, reason, until = derive(self._inputs)
        self.status = Status(state, clock(), reason, until)

    @property
    def seconds(self) -> float:
        """Return how long the turn state has been what it is."""
        return time.monotonic() - self._began

    @property
    def draining(self) -> bool:
        """Return True while hive wants no turn to begin."""
        return self._inputs.draining

    @property
    def held(self) -> bool:
        """Return True while a pause, the budget or a wait keeps turns from beginning."""
        return self._inputs.held

    @property
    def paused(self) -> bool:
        """Return True while the operator wants no turn."""
        return self._inputs.hold.paused

    @property
    def suspended(self) -> bool:
        """Return True while a run is paused by a client of the pod."""
        return self._inputs.suspended

    @property
    def forbidden(self) -> str:
        """Return why hive forbids the agent to call its model: a pause or the budget. Empty: it does not."""
        if self.paused:
            return "the agent is paused"
        return "the agent's budget is used up" if self._inputs.hold.over_budget else ""

    @property
    def busy(self) -> bool:
        """Return True while a turn or a compaction runs."""
        return self._inputs.busy is not None

    @property
    def waiting(self) -> Wait | None:
        """Return the harness's own reason to wait."""
        return self._inputs.wait

    @property
    def changed(self) -> asyncio.Event:
        """Return the event of the next change. Take it before you look at the rest."""
        return self._changed

    def listen(self, listener: Listener) -> None:
        """Call `listener` after each change of the status."""
        self._listeners.append(listener)

    def begin(self, state: TurnState) -> Stop:
        """Record that a turn or a compaction begins. Return the request that can end it."""
        self._stop = Stop()
        self._set(replace(self._inputs, busy=state, resting=False))
        return self._stop

    def become(self, state: TurnState) -> None:
        """Go on with the turn as `state`: it compacts, or thinks again."""
        self._set(replace(self._inputs, busy=state))

    def end(self, wait: Wait | None) -> None:
        """Record that it ended, and why the next one waits."""
        self._stop = None
        self._set(replace(self._inputs, busy=None, wait=wait))

    def wait(self, wait: Wait | None) -> None:
        """Set or clear the harness's own reason to wait."""
        self._set(replace(self._inputs, wait=wait))

    def measure(self, context: int | None, window: int | None) -> None:
        """Take how full the conversation's context is. In a turn or a compaction hive learns of it at its end."""
        before = self.status
        self.status = replace(before, context=context, window=window)
        if self.status != before and not self.busy:
            self._tell()

    def rest(self) -> None:
        """Record that the loop has seen the drain: no turn begins until its end."""
        self._set(replace(self._inputs, resting=True))

    def drain(self) -> None:
        """Allow no new turn until `resume`."""
        self._set(replace(self._inputs, draining=True))

    def resume(self) -> None:
        """End the drain."""
        self._set(replace(self._inputs, draining=False, resting=False))

    def hold(self, hold: Hold) -> None:
        """Obey the whole of hive's will. A pause stops the turn in flight."""
        self._memory.save(hold)
        self._set(replace(self._inputs, hold=hold))
        if hold.paused:
            self.stop(Cause.PAUSE)

    def suspend(self, *, on: bool) -> None:
        """Let no turn begin while a run is paused by a client of the pod."""
        self._set(replace(self._inputs, suspended=on))

    def poke(self) -> None:
        """Wake who waits for a change: something was asked for that is not in the gate."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def stop(self, cause: Cause, number: int | None = None) -> bool:
        """Ask for the end of the turn that runs, with a number only if it is that one. Return False if none is."""
        if self._stop is None or number not in (None, self.status.number):
            return False
        self._stop.request(cause)
        return True

    def _set(self, inputs: Inputs) -> None:
        if inputs == self._inputs:
            return
        now = self._clock()
        self._inputs = inputs
        before = self.status
        state, reason, until = derive(inputs)
        self._note_beginnings(now)
        reason = one_line(reason, REASON_LIMIT)
        number = before.number + (state.in_turn and not before.state.in_turn)
        person = state is TurnState.PARKED and inputs.wait is not None and inputs.wait.person
        if state is not before.state:
            self._began = time.monotonic()
            since = self._waiting.get(state, now)
            self.status = replace(
                before, state=state, since=since, reason=reason, until=until, number=number, person=person
            )
        else:
            self.status = replace(before, reason=reason, until=until, person=person)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self.status != before:
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _note_beginnings(self, now: float) -> None:
        """Keep since when each reason to wait holds: a drain or a turn in between does not end it."""
        hold, wait = self._inputs.hold, self._inputs.wait
        reasons = {
            TurnState.PAUSED: hold.paused or self._inputs.suspended,
            TurnState.OVER_BUDGET: hold.over_budget,
            TurnState.PARKED: wait is not None and wait.state is TurnState.PARKED,
            TurnState.NEEDS_LOGIN: wait is not None and wait.state is TurnState.NEEDS_LOGIN,
        }
        for state, holds in reasons.items():
            if holds:
                self._waiting.setdefault(state, now)
            else:
                self._waiting.pop(state, None)
