"""The manager's socket (`mcp.sock`): an agent's requests (without Wake) and the privileged ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from meta.wire.agent import (
    AckTurn,
    Answer,
    Ask,
    CancelLooseEnd,
    CountPendingReminders,
    EmptyResponse,
    ErrResponse,
    GetLooseEnds,
    LooseEndsResponse,
    MessageResponse,
    OkResponse,
    OperatorMsg,
    PendingRemindersCountResponse,
    QuestionQueuedResponse,
    Recent,
    RecentResponse,
    Recv,
    Remind,
    RequeueInflight,
    Send,
    Status,
    StatusResponse,
    Whoami,
    WhoamiResponse,
)
from meta.wire.common import U32, Omitted, Wire


class RequestSpawn(Wire):
    """Ask for a new agent to be approved."""

    cmd: Literal["request_spawn"] = "request_spawn"
    name: str
    description: Annotated[str | None, Omitted] = None


class Kill(Wire):
    """Stop an agent."""

    cmd: Literal["kill"] = "kill"
    name: str


class Start(Wire):
    """Start a stopped agent."""

    cmd: Literal["start"] = "start"
    name: str


class Restart(Wire):
    """Stop and start an agent."""

    cmd: Literal["restart"] = "restart"
    name: str


class Update(Wire):
    """Rebuild an agent from what is deployed; needs no approval."""

    cmd: Literal["update"] = "update"
    name: str


class RequestApplyCommit(Wire):
    """Ask for a commit of an agent's proposed repo to be approved."""

    cmd: Literal["request_apply_commit"] = "request_apply_commit"
    agent: str
    commit_ref: str
    description: Annotated[str | None, Omitted] = None


class GetLogs(Wire):
    """The last lines of an agent's log; `lines` None = 50."""

    cmd: Literal["get_logs"] = "get_logs"
    agent: str
    lines: U32 | None = None


ManagerRequest = Annotated[
    Send
    | Recv
    | Status
    | OperatorMsg
    | Recent
    | RequestSpawn
    | Kill
    | Start
    | Restart
    | Update
    | RequestApplyCommit
    | Ask
    | Answer
    | GetLogs
    | Remind
    | GetLooseEnds
    | CountPendingReminders
    | Whoami
    | CancelLooseEnd
    | AckTurn
    | RequeueInflight,
    Field(discriminator="cmd"),
]


class LogsResponse(Wire):
    """Lines of a log."""

    kind: Literal["logs"] = "logs"
    content: str


ManagerResponse = Annotated[
    OkResponse
    | ErrResponse
    | MessageResponse
    | EmptyResponse
    | StatusResponse
    | QuestionQueuedResponse
    | RecentResponse
    | LogsResponse
    | LooseEndsResponse
    | PendingRemindersCountResponse
    | WhoamiResponse,
    Field(discriminator="kind"),
]

MANAGER_REQUEST: TypeAdapter[ManagerRequest] = TypeAdapter(ManagerRequest)
MANAGER_RESPONSE: TypeAdapter[ManagerResponse] = TypeAdapter(ManagerResponse)
