"""The wire types of an older peer that differ from today's: fewer requests, fewer fields."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from meta.wire import host, manager
from meta.wire.agent import EmptyResponse, ErrResponse, OkResponse, OperatorMsg, Send, Status, StatusResponse
from meta.wire.common import I64, ApprovalKind, Kind, Lone, Omitted, Sender, StatusOf, Texts, Wire


class Approval(Wire):
    """One card, without what hive pinned and without a description."""

    id: I64
    agent: str
    kind: Kind = ApprovalKind.APPLY_COMMIT
    commit_ref: str
    requested_at: I64
    status: StatusOf
    resolved_at: Annotated[I64 | None, Omitted] = None
    note: Annotated[str | None, Omitted] = None


class Destroy(Wire):
    """Remove an agent's container."""

    cmd: Literal["destroy"] = "destroy"
    name: str


HostRequest = Annotated[
    host.Spawn
    | host.RequestSpawn
    | host.Kill
    | Destroy
    | host.Rebuild
    | host.ListAgents
    | host.Pending
    | host.Approve
    | host.Deny,
    Field(discriminator="cmd"),
]


class HostResponse(Wire):
    """The answer to every HostRequest."""

    ok: bool
    error: Annotated[str | None, Omitted] = None
    agents: Annotated[Texts | None, Omitted] = None
    approvals: Annotated[Annotated[tuple[Approval, ...], Field(strict=False)] | None, Omitted] = None


class Recv(Wire):
    """Take one message, without waiting."""

    cmd: Literal["recv"] = "recv"


AgentRequest = Annotated[Send | Recv | Status | OperatorMsg, Field(discriminator="cmd")]


class MessageResponse(Wire):
    """One message, without its id."""

    kind: Literal["message"] = "message"
    sender: Sender
    body: str


AgentResponse = Annotated[
    OkResponse | ErrResponse | MessageResponse | EmptyResponse | StatusResponse, Field(discriminator="kind")
]


class ApprovalResolved(Lone):
    """An approval ended."""

    tag: ClassVar[str] = "event"
    event: Literal["approval_resolved"]
    id: I64
    agent: str
    commit_ref: str
    status: StatusOf
    note: Annotated[str | None, Omitted] = None


class RequestSpawn(Wire):
    """Ask the operator to approve a new agent."""

    cmd: Literal["request_spawn"] = "request_spawn"
    name: str


class RequestApplyCommit(Wire):
    """Ask the operator to approve a commit of an agent's proposed repo."""

    cmd: Literal["request_apply_commit"] = "request_apply_commit"
    agent: str
    commit_ref: str


ManagerRequest = Annotated[
    Send | Recv | Status | OperatorMsg | RequestSpawn | manager.Kill | RequestApplyCommit, Field(discriminator="cmd")
]
