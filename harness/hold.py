"""What keeps an agent from its next turn, and the turn state that follows from it. Pure but for the pause's file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness import state_file
from meta.wire.link import Hold, TurnState

PAUSE_FILE = "hyperhive-paused"
"""The file in /state that remembers a pause for a start without a daemon. hive's own word wins.

An older hive that knows no `Hold` ends the pause with its first line, because it has no verb that would.
"""


SUSPENDED = "its run was paused by a client of its pod: resume or cancel it there"
"""The reason of a pause that is not hive's."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The agent waits by itself: `parked` or `needs-login`. `until` is in Unix seconds; None: for an event outside."""

    state: TurnState
    reason: str
    until: float | None = None
    person: bool = False
    """Only a person can mend the cause. The harness tries again all the same."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that decides the turn state.

    `busy`: the turn or the compaction that runs. `draining`: hive requested a drain. `resting`: the loop has seen that
    and asks for no message. `hold`: hive's will. `suspended`: a client of the pod paused the run. `wait`: the harness's
    own reason to wait.
    """

    busy: TurnState | None = None
    draining: bool = False
    resting: bool = False
    hold: Hold = field(default_factory=Hold)
    suspended: bool = False
    wait: Wait | None = None

    @property
    def held(self) -> bool:
        """Return True while no turn may begin for another reason than a drain."""
        return self.hold.paused or self.suspended or self.hold.over_budget or self.wait is not None


def derive(inputs: Inputs) -> tuple[TurnState, str, float | None]:
    """Return the turn state with its reason, and when the harness goes on by itself (Unix seconds).

    A drain counts before everything that waits, because its caller only wants to know that no turn runs. Of several
    reasons to wait the one that a person must end comes first.
    """
    hold, wait = inputs.hold, inputs.wait
    if inputs.busy is not None:
        return inputs.busy, "", None
    if inputs.draining and inputs.resting:
        return TurnState.DRAINED, "", None
    if hold.paused:
        return TurnState.PAUSED, hold.reason, None
    if inputs.suspended:
        return TurnState.PAUSED, SUSPENDED, None
    if hold.over_budget:
        return TurnState.OVER_BUDGET, hold.reason, hold.until
    if wait is not None:
        return wait.state, wait.reason, wait.until
    return TurnState.IDLE, "", None


class PauseMemory:
    """The pause in /state. Without a path it remembers nothing."""

    def __init__(self, state: Path | None) -> None:
        self._path = None if state is None else state / PAUSE_FILE

    def load(self) -> Hold:
        """Return the pause of before the start, or no hold."""
        reason = None if self._path is None else state_file.read(self._path, 4096)
        return Hold() if reason is None else Hold(paused=True, reason=reason.strip()[:500])

    def save(self, hold: Hold) -> None:
        """Remember the pause, or that there is none."""
        if self._path is None or hold.paused == self._path.is_file():
            return
        if hold.paused:
            state_file.write(self._path, f"{hold.reason}\n")
        else:
            state_file.remove(self._path)
