"""The pod's states and what each method does in each of them: the whole state machine in one table. Pure.

The seed (004_f087a6b7c1abf493.txt) has the methods; what they do is as its origin does it, but for `cancel` while the
pod is paused: it discards the paused run and goes to idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from meta.wire.pod import ErrorCode


class PodState(StrEnum):
    """The state of a pod. `running` begins when a run is accepted; `paused` when one was stopped to be resumed."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"


class Act(StrEnum):
    """What a method does.

    start      begin a run with this input
    replace    give up the paused run, and begin one with this input
    go-on      go on with the paused run
    stop       end the run for good
    pause      end the run so that it can go on
    give-up    forget the paused run
    wake       keep the text, and begin a run for it
    inject     keep the text; the model sees it at its next request if the runtime can do that
    keep       keep the text until the next run
    show       answer with history and greeting
    shut-down  stop the pod
    nothing    there is nothing to do
    refuse     answer with an error
    """

    START = "start"
    REPLACE = "replace"
    GO_ON = "go-on"
    STOP = "stop"
    PAUSE = "pause"
    GIVE_UP = "give-up"
    WAKE = "wake"
    INJECT = "inject"
    KEEP = "keep"
    SHOW = "show"
    SHUT_DOWN = "shut-down"
    NOTHING = "nothing"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Row:
    """What follows from a method: the act, the state after it, and the error if it is refused."""

    act: Act
    state: PodState
    error: ErrorCode | None = None


METHODS = ("run", "notify", "pod_event", "resume", "cancel", "pause", "shutdown", "get_history")
"""The names of the methods on the wire."""

IDLE, RUNNING, PAUSED = PodState

TABLE: Mapping[tuple[str, PodState], Row] = MappingProxyType(
    {
        ("run", IDLE): Row(Act.START, RUNNING),
        ("run", RUNNING): Row(Act.REFUSE, RUNNING, ErrorCode.ALREADY_RUNNING),
        ("run", PAUSED): Row(Act.REPLACE, RUNNING),
        ("notify", IDLE): Row(Act.WAKE, RUNNING),
        ("notify", RUNNING): Row(Act.INJECT, RUNNING),
        ("notify", PAUSED): Row(Act.KEEP, PAUSED),
        ("pod_event", IDLE): Row(Act.WAKE, RUNNING),
        ("pod_event", RUNNING): Row(Act.INJECT, RUNNING),
        ("pod_event", PAUSED): Row(Act.KEEP, PAUSED),
        ("resume", IDLE): Row(Act.REFUSE, IDLE, ErrorCode.NOT_PAUSED),
        ("resume", RUNNING): Row(Act.REFUSE, RUNNING, ErrorCode.ALREADY_RUNNING),
        ("resume", PAUSED): Row(Act.GO_ON, RUNNING),
        ("cancel", IDLE): Row(Act.REFUSE, IDLE, ErrorCode.NOT_RUNNING),
        ("cancel", RUNNING): Row(Act.STOP, IDLE),
        ("cancel", PAUSED): Row(Act.GIVE_UP, IDLE),
        ("pause", IDLE): Row(Act.REFUSE, IDLE, ErrorCode.NOT_RUNNING),
        ("pause", RUNNING): Row(Act.PAUSE, PAUSED),
        ("pause", PAUSED): Row(Act.NOTHING, PAUSED),
        ("shutdown", IDLE): Row(Act.SHUT_DOWN, IDLE),
        ("shutdown", RUNNING): Row(Act.SHUT_DOWN, RUNNING),
        ("shutdown", PAUSED): Row(Act.SHUT_DOWN, PAUSED),
        ("get_history", IDLE): Row(Act.SHOW, IDLE),
        ("get_history", RUNNING): Row(Act.SHOW, RUNNING),
        ("get_history", PAUSED): Row(Act.SHOW, PAUSED),
    }
)
"""Each method in each state."""

REFUSALS: Mapping[ErrorCode, str] = MappingProxyType(
    {
        ErrorCode.ALREADY_RUNNING: "a run is under way; cancel or pause it, or wait for its end",
        ErrorCode.NOT_RUNNING: "no run is under way",
        ErrorCode.NOT_PAUSED: "no run is paused",
    }
)
"""The sentence with each refusal."""


def state_of(*, busy: bool, paused: bool) -> PodState:
    """Return the state. `busy`: a run is under way or accepted. A run that ends while a pause waits is still a run."""
    if busy:
        return PodState.RUNNING
    return PodState.PAUSED if paused else PodState.IDLE
