"""The pod protocol: the methods of a client, the events of a running agent, and scopes.

Tag and content are two fields: {"method":"run","params":{"input":"hello"}}.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from meta.wire.common import I64, U64, Adjacent, Body, Texts, Wire

NoContent = Annotated[None, Field(exclude=True)]


def _json(value: object) -> object:
    """Return any JSON as the peer keeps it: keys sorted; a whole number beyond 64 bits is a float."""
    if isinstance(value, dict):
        return {key: _json(value[key]) for key in sorted(value, key=str.encode)}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


Json = Annotated[object, BeforeValidator(_json)]


class Permission(StrEnum):
    """The right that a rule grants, or caps."""

    READ = "read"
    WRITE = "write"


class Level(StrEnum):
    """The severity of a notification."""

    WARN = "warn"
    ERROR = "error"


class Source(StrEnum):
    """The part of the pod that sends a notification."""

    POD = "pod"
    WORKER = "worker"
    COMPACTOR = "compactor"
    AGENTS_MD = "agents_md"


class TurnResult(StrEnum):
    """The end of a turn."""

    FINISHED = "finished"
    PAUSED = "paused"


class RunResult(StrEnum):
    """The end of a run."""

    FINISHED = "finished"
    PAUSED = "paused"
    LIMIT_REACHED = "limit_reached"


class ErrorCode(StrEnum):
    """The reason why a method failed."""

    ALREADY_RUNNING = "already_running"
    NOT_RUNNING = "not_running"
    NOT_PAUSED = "not_paused"
    PROVIDER_ERROR = "provider_error"
    TOOL_ERROR = "tool_error"
    INTERNAL = "internal"


Lax = Field(strict=False)


class ScopeRule(Wire):
    """One allow or deny rule. Without `recursive` it applies to the path and its direct children only."""

    target: str
    permission: Annotated[Permission, Lax]
    recursive: bool = True


class TurnEnded(Wire):
    """A child finished a turn and is idle."""

    kind: Literal["turn_ended"] = "turn_ended"
    pod_name: str


class Errored(Wire):
    """A child's turn failed."""

    kind: Literal["errored"] = "errored"
    pod_name: str
    message: str


class ShutDown(Wire):
    """A child has stopped."""

    kind: Literal["shut_down"] = "shut_down"
    pod_name: str


class ScopeSubDelegated(Wire):
    """A child gave a part of its scope to a child of its own."""

    kind: Literal["scope_sub_delegated"] = "scope_sub_delegated"
    parent_pod: str
    sub_pod: str
    sub_socket: str
    scope: Annotated[tuple[ScopeRule, ...], Lax]


PodEvent = Annotated[TurnEnded | Errored | ShutDown | ScopeSubDelegated, Field(discriminator="kind")]


# methods
class RunParams(Body):
    input: str


class NotifyParams(Body):
    message: str


class MethodBase(Adjacent):
    """Base of the methods."""

    content: ClassVar[str] = "params"


class Run(MethodBase):
    """Start a turn with this input."""

    method: Literal["run"] = "run"
    params: RunParams


class Notify(MethodBase):
    """Text for the model, as a system message."""

    method: Literal["notify"] = "notify"
    params: NotifyParams


class PodEventMethod(MethodBase):
    """A child's report to its parent."""

    method: Literal["pod_event"] = "pod_event"
    params: PodEvent


class Resume(MethodBase):
    """Continue the paused turn."""

    method: Literal["resume"] = "resume"
    params: NoContent = None


class Cancel(MethodBase):
    """Discard the turn."""

    method: Literal["cancel"] = "cancel"
    params: NoContent = None


class Pause(MethodBase):
    """Stop the turn so that it can be resumed."""

    method: Literal["pause"] = "pause"
    params: NoContent = None


class Shutdown(MethodBase):
    """End the pod."""

    method: Literal["shutdown"] = "shutdown"
    params: NoContent = None


class GetHistory(MethodBase):
    """Return the history and the greeting."""

    method: Literal["get_history"] = "get_history"
    params: NoContent = None


Method = Annotated[
    Run | Notify | PodEventMethod | Resume | Cancel | Pause | Shutdown | GetHistory, Field(discriminator="method")
]


# events
class Notification(Wire):
    """A message for the user of the client. `timestamp_ms` is milliseconds since the epoch."""

    level: Annotated[Level, Lax]
    source: Annotated[Source, Lax]
    message: str
    timestamp_ms: I64


class Greeting(Wire):
    """The identity of the pod."""

    pod_name: str
    cwd: str
    provider: str
    model: str
    scope_summary: str
    tools: Texts


class TurnStartData(Body):
    turn: U64


class TurnEndData(Body):
    turn: U64
    result: Annotated[TurnResult, Lax]


class TextData(Body):
    text: str


class ToolCallStartData(Body):
    id: str
    name: str


class ToolCallArgsDeltaData(Body):
    id: str
    json_text: Annotated[str, Field(validation_alias="json", serialization_alias="json")]


class ToolCallDoneData(Body):
    id: str
    name: str
    arguments: str


class ToolResultData(Body):
    id: str
    output: str
    is_error: bool


class UsageData(Body):
    input_tokens: U64 | None = None
    output_tokens: U64 | None = None


class RunEndData(Body):
    result: Annotated[RunResult, Lax]


class ErrorData(Body):
    code: Annotated[ErrorCode, Lax]
    message: str


class HistoryData(Body):
    items: Annotated[tuple[Json, ...], Lax]
    greeting: Greeting


class EventBase(Adjacent):
    """Base of the events."""

    content: ClassVar[str] = "data"


class TurnStart(EventBase):
    event: Literal["turn_start"] = "turn_start"
    data: TurnStartData


class TurnEnd(EventBase):
    event: Literal["turn_end"] = "turn_end"
    data: TurnEndData


class TextDelta(EventBase):
    event: Literal["text_delta"] = "text_delta"
    data: TextData


class TextDone(EventBase):
    event: Literal["text_done"] = "text_done"
    data: TextData


class ToolCallStart(EventBase):
    event: Literal["tool_call_start"] = "tool_call_start"
    data: ToolCallStartData


class ToolCallArgsDelta(EventBase):
    event: Literal["tool_call_args_delta"] = "tool_call_args_delta"
    data: ToolCallArgsDeltaData


class ToolCallDone(EventBase):
    event: Literal["tool_call_done"] = "tool_call_done"
    data: ToolCallDoneData


class ToolResult(EventBase):
    event: Literal["tool_result"] = "tool_result"
    data: ToolResultData


class Usage(EventBase):
    event: Literal["usage"] = "usage"
    data: UsageData


class RunEnd(EventBase):
    event: Literal["run_end"] = "run_end"
    data: RunEndData


class ErrorEvent(EventBase):
    event: Literal["error"] = "error"
    data: ErrorData


class History(EventBase):
    event: Literal["history"] = "history"
    data: HistoryData


class NotificationEvent(EventBase):
    event: Literal["notification"] = "notification"
    data: Notification


class ShutdownEvent(EventBase):
    event: Literal["shutdown"] = "shutdown"
    data: NoContent = None


Event = Annotated[
    TurnStart
    | TurnEnd
    | TextDelta
    | TextDone
    | ToolCallStart
    | ToolCallArgsDelta
    | ToolCallDone
    | ToolResult
    | Usage
    | RunEnd
    | ErrorEvent
    | History
    | NotificationEvent
    | ShutdownEvent,
    Field(discriminator="event"),
]
