"""The manager's socket (`mcp.sock`): an agent's requests (without Wake) and the privileged ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from meta.names import NAME_LIMIT
from meta.wire import limits
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
from meta.wire.common import U32, Omitted, Wire, doc

NamedAgent = Annotated[str, doc("the agent's name", "alice", maxLength=NAME_LIMIT, pattern=limits.NAME_PATTERN)]
Described = Annotated[
    str | None,
    Omitted,
    doc(
        "for the operator, who decides: what it is for, in a line or two",
        "adds the linter",
        maxLength=limits.DESCRIPTION_MOST,
    ),
]


class RequestSpawn(Wire):
    """Ask the operator to approve a new agent."""

    cmd: Literal["request_spawn"] = "request_spawn"
    name: Annotated[
        str,
        doc(
            "the new agent's name: a small letter, then small letters, digits and -",
            "alice",
            maxLength=NAME_LIMIT,
            pattern=limits.NAME_PATTERN,
        ),
    ]
    description: Described = None


class Kill(Wire):
    """Stop an agent."""

    cmd: Literal["kill"] = "kill"
    name: NamedAgent


class Start(Wire):
    """Start a stopped agent."""

    cmd: Literal["start"] = "start"
    name: NamedAgent


class Restart(Wire):
    """Stop and start an agent."""

    cmd: Literal["restart"] = "restart"
    name: NamedAgent


class Update(Wire):
    """Rebuild an agent from what is deployed; needs no approval."""

    cmd: Literal["update"] = "update"
    name: NamedAgent


class RequestApplyCommit(Wire):
    """Ask the operator to approve a commit of an agent's proposed repo."""

    cmd: Literal["request_apply_commit"] = "request_apply_commit"
    agent: NamedAgent
    commit_ref: Annotated[
        str,
        doc(
            "the commit's id in the agent's proposed repo, 7 to 40 hexadecimal digits",
            "3f2a91c0",
            minLength=7,
            maxLength=40,
            pattern=limits.COMMIT_PATTERN,
        ),
    ]
    description: Described = None


class GetLogs(Wire):
    """The last lines of an agent's log; `lines` None = 50."""

    cmd: Literal["get_logs"] = "get_logs"
    agent: NamedAgent
    lines: Annotated[
        U32 | None,
        doc("how many of the newest lines, 50 when absent", 50, minimum=1, maximum=limits.LOG_LINES_MOST),
    ] = None


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
