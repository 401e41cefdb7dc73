"""The link between hive and a harness: JSON lines on `harness.sock`.

The harness opens one connection and keeps it. It sends `hello` first, then a `state` whenever that changes and as the
answer to a `probe`. It sends the state `drained` once it is between turns and takes no more messages.
hive sends `drain`, `resume`, `cancel` and `probe`, and `closed` before it ends a connection. Unknown fields are
ignored; a line of an unknown kind is ignored by a peer that is older.

Beside these: the harness says with `about` which runtime it drives, sends its live events (`event`) after hive asked
for them with `follow`, gives messages back without a failed turn with `release`, and answers a `control` with `done`.
It says with `pods` which pods the agent has (its own and its sub-agents), passes on what they report (`pod_event`), and
asks with `shutdown` to be stopped.
hive says with `hold` whether the operator paused the agent or its budget is used up: always the whole of it, after each
hello and after each change.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import override


class TurnState(StrEnum):
    """The turn state of a harness. All but `thinking` and `compacting` are between turns.

    `unknown` is what an older hive reads for a state that it does not know. No harness sends it.
    """

    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"
    DRAINED = "drained"
    NEEDS_LOGIN = "needs-login"
    PARKED = "parked"
    OVER_BUDGET = "over-budget"
    PAUSED = "paused"
    UNKNOWN = "unknown"

    @classmethod
    @override
    def _missing_(cls, value: object) -> TurnState | None:
        return cls.UNKNOWN if isinstance(value, str) else None

    @property
    def in_turn(self) -> bool:
        """Return True while stopping the agent would lose work."""
        return self in (TurnState.THINKING, TurnState.COMPACTING)


Identifier = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
"""Text of an agent that hive shows and logs: short, without line ends and terminal escapes."""

TurnNumber = Annotated[int, Field(ge=0, le=2**53)]
TokenCount = Annotated[int, Field(ge=0, le=2**53)]


class _Line(BaseModel):
    # built at the first use: a harness says hello before it needs the others
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)


def _state(value: object) -> object:
    return TurnState(value) if isinstance(value, str) else value


ReadState = Annotated[TurnState, Field(strict=False), BeforeValidator(_state)]
"""A turn state; one that this hive does not know is read as `unknown`."""

UnixSeconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Reason = Annotated[str, Field(max_length=500)]
"""One line of text for people. It is an agent's: hive shows it as text that it does not vouch for."""


class Hello(_Line):
    """The first line of the harness. `generation` and `nonce` are what hive launched the container with.

    `seconds`: how long the harness has been in `state`, if it connects again in the middle of a turn. `turn`: the
    number of its latest turn; None from a harness that does not count them. `log` names the harness's event log, which
    gets a new name if it begins anew; `last` is the id of its newest event. None: it has no log.
    `person`, `context` and `window`: as in State.
    """

    up: Literal["hello"] = "hello"
    generation: Identifier
    nonce: Identifier
    state: ReadState = TurnState.IDLE
    seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    turn: TurnNumber | None = None
    until: UnixSeconds | None = None
    reason: Reason = ""
    log: Identifier | None = None
    last: Annotated[int, Field(ge=0, le=2**53)] = 0
    person: bool = False
    context: TokenCount | None = None
    window: TokenCount | None = None


class State(_Line):
    """The new turn state, or the answer to the probe with the number `probe`. `turn` as in the hello.

    `since`: when the state began. `until`: when the harness goes on by itself, if it knows. `reason`: why it waits.
    `person`: it waits for what only a person can mend, although it tries again.
    `context`: the tokens in the conversation's context when it was last measured, of `window` that it may have. None:
    the runtime has not reported that yet, or never does.
    """

    up: Literal["state"] = "state"
    state: ReadState
    probe: int | None = None
    turn: TurnNumber | None = None
    since: UnixSeconds | None = None
    until: UnixSeconds | None = None
    reason: Reason = ""
    person: bool = False
    context: TokenCount | None = None
    window: TokenCount | None = None


class WorkspaceState(_Line):
    """One of the repos of `[[workspace]]`: `state` is cloning, ready or failed, `text` the progress or the problem."""

    path: Annotated[str, Field(max_length=200)]
    state: Annotated[str, Field(max_length=16)]
    text: Annotated[str, Field(max_length=300)] = ""


class About(_Line):
    """The runtime that the harness drives. Sent after the hello and after each change.

    `program` is the CLI's version, "" if there is none or it does not start; then `problem` says why and what helps.
    `override` is the operator's model, which hides the one of agent.toml. `model` is what the next turn has. `key` is
    the kind of the key outside of the container by which the CLI reaches its model; "": it has a login, or needs none.
    `workspaces` are the repos that the agent begins with.
    """

    up: Literal["about"] = "about"
    runtime: Annotated[str, Field(max_length=32)]
    program: Annotated[str, Field(max_length=100)] = ""
    model: Annotated[str, Field(max_length=200)] = ""
    override: Annotated[str, Field(max_length=200)] = ""
    problem: Reason = ""
    key: Identifier = ""
    workspaces: Annotated[tuple[WorkspaceState, ...], Field(strict=False, max_length=16)] = ()


class Event(_Line):
    """One live event (meta.wire.live) with its id in the harness's log and its time in Unix seconds."""

    up: Literal["event"] = "event"
    id: Annotated[int, Field(ge=0, le=2**53)]
    ts: UnixSeconds
    event: dict[str, Any]


MessageIds = Annotated[tuple[Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)], ...], Field(strict=False)]


class Release(_Line):
    """Give the messages of this turn back without counting a failed turn: an outage, a limit or a missing login.

    `only`: give back these alone, by their ids; the others stay in flight. None: all of them. hive answers with
    `released`, and then the next `recv` delivers them again.
    """

    up: Literal["release"] = "release"
    turn: TurnNumber
    only: Annotated[MessageIds, Field(max_length=1_000)] | None = None


class Done(_Line):
    """The answer to the control with this id. `text` is for the operator: the result, or what is wrong.

    `changed` is False if it has changed nothing: it is queued, it goes on, or there was nothing to do.
    """

    up: Literal["done"] = "done"
    id: Identifier
    ok: bool
    changed: bool = True
    text: Annotated[str, Field(max_length=4000)] = ""


class PodInfo(_Line):
    """A pod of the agent: its own, with `parent` "", or a sub-agent that runs beside it in the container.

    `state` is idle, running or paused, `starting` before a sub-agent is ready, `waiting` until it has its scope, and
    `unreachable` if its process runs and does not answer. `scope` is what it may write, in one line. `turn` counts its
    turns, `result` is how the latest run ended (meta.wire.pod.RunResult, or `error`), `ended` when.
    """

    name: Identifier
    parent: Identifier = ""
    state: Annotated[str, Field(max_length=16)]
    scope: Annotated[str, Field(max_length=500)] = ""
    turn: TurnNumber = 0
    result: Annotated[str, Field(max_length=16)] = ""
    ended: UnixSeconds | None = None


class Pods(_Line):
    """All pods of the agent, its own first. Sent after the hello and after each change."""

    up: Literal["pods"] = "pods"
    pods: Annotated[tuple[PodInfo, ...], Field(strict=False, max_length=64)] = ()


class PodReport(_Line):
    """What a child reports to its parent (meta.wire.pod.PodEvent): hive is the parent of the agent's own pod.

    It is sent once and may be lost, come twice or late: `pods` has the truth.
    """

    up: Literal["pod_event"] = "pod_event"
    event: dict[str, Any]


class ShutdownRequest(_Line):
    """A client of `pod.sock` asked the agent's own pod to end: hive stops the agent, as its operator does."""

    up: Literal["shutdown"] = "shutdown"


class Drain(_Line):
    """Finish the turn, take no more messages, then send the state `drained`."""

    down: Literal["drain"] = "drain"
    deadline_seconds: float


class Resume(_Line):
    """Take messages again."""

    down: Literal["resume"] = "resume"


class Cancel(_Line):
    """End the turn now: it has taken longer than its limit. Its messages are given back.

    With `turn` only the turn with that number: another one may have begun meanwhile.
    """

    down: Literal["cancel"] = "cancel"
    turn: TurnNumber | None = None


class Probe(_Line):
    """Ask for a `state` with this number. The answer proves that the harness's event loop runs."""

    down: Literal["probe"] = "probe"
    probe: int


class Closed(_Line):
    """hive closes this connection, for this reason: another process of the agent has the link, say."""

    down: Literal["closed"] = "closed"
    reason: str


class Follow(_Line):
    """Send the events after this id, and then every new one."""

    down: Literal["follow"] = "follow"
    after: Annotated[int, Field(ge=0, le=2**53)] = 0


class Hold(_Line):
    """All that keeps the agent from turns by hive's will. Both False: nothing does.

    `paused`: the operator paused it; a turn in flight is stopped and its messages come again. `over_budget`: its budget
    is used up, as `reason` says, until `until`; a turn in flight goes on to its end.

    It is the first line after a hello, so it says as well that this hive answers `release` and knows its `only`
    (`releases`): silence is no older hive then.
    """

    down: Literal["hold"] = "hold"
    paused: bool = False
    over_budget: bool = False
    until: UnixSeconds | None = None
    reason: Reason = ""
    releases: bool = False


class Verb(StrEnum):
    """What an operator asks of a harness."""

    CANCEL = "cancel"
    COMPACT = "compact"
    NEW_SESSION = "new-session"
    MODEL = "model"
    LOGIN = "login"
    LOGIN_CODE = "login-code"
    LOGIN_CANCEL = "login-cancel"
    LOGOUT = "logout"


class Control(_Line):
    """Ask for `verb`. `text` is its argument: the model's name ("" is the default again), or the code of a login.

    `text` can be a secret: it is not logged and not recorded.
    """

    down: Literal["control"] = "control"
    id: Identifier
    verb: Verb
    text: Annotated[str, Field(max_length=8192, repr=False)] = ""


class Released(_Line):
    """The messages of this turn were given back: those with the ids `only`, as the `release` said, or all of them."""

    down: Literal["released"] = "released"
    turn: TurnNumber
    only: MessageIds | None = None


UpLine = Hello | State | About | Event | Release | Done | Pods | PodReport | ShutdownRequest
"""A line that the harness sends."""
DownLine = Drain | Resume | Cancel | Probe | Closed | Follow | Hold | Control | Released
"""A line that hive sends."""
Up = Annotated[UpLine, Field(discriminator="up")]
Down = Annotated[DownLine, Field(discriminator="down")]
UP: TypeAdapter[UpLine] = TypeAdapter(Up, config=ConfigDict(defer_build=True))
DOWN: TypeAdapter[DownLine] = TypeAdapter(Down, config=ConfigDict(defer_build=True))
