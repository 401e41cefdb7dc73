"""The host socket (`host.sock`): the operator's requests and their one type of response."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from meta.wire.common import I64, Approval, Omitted, Texts, Wire


class Spawn(Wire):
    """Create and start an agent, without an approval."""

    cmd: Literal["spawn"] = "spawn"
    name: str


class RequestSpawn(Wire):
    """Ask for the approval of a new agent."""

    cmd: Literal["request_spawn"] = "request_spawn"
    name: str


class Kill(Wire):
    """Stop an agent."""

    cmd: Literal["kill"] = "kill"
    name: str


class Destroy(Wire):
    """Remove an agent's container; with `purge` also its directories."""

    cmd: Literal["destroy"] = "destroy"
    name: str
    purge: bool = False


class Rebuild(Wire):
    """Apply everything about an agent again."""

    cmd: Literal["rebuild"] = "rebuild"
    name: str


class ListAgents(Wire):
    """List the managed agents."""

    cmd: Literal["list"] = "list"


class Pending(Wire):
    """List the open approvals."""

    cmd: Literal["pending"] = "pending"


class Approve(Wire):
    """Approve by id."""

    cmd: Literal["approve"] = "approve"
    id: I64


class Deny(Wire):
    """Deny by id."""

    cmd: Literal["deny"] = "deny"
    id: I64


HostRequest = Annotated[
    Spawn | RequestSpawn | Kill | Destroy | Rebuild | ListAgents | Pending | Approve | Deny,
    Field(discriminator="cmd"),
]


class HostResponse(Wire):
    """The answer to every HostRequest."""

    ok: bool
    error: Annotated[str | None, Omitted] = None
    agents: Annotated[Texts | None, Omitted] = None
    approvals: Annotated[Annotated[tuple[Approval, ...], Field(strict=False)] | None, Omitted] = None


HOST_REQUEST: TypeAdapter[HostRequest] = TypeAdapter(HostRequest)
HOST_RESPONSE: TypeAdapter[HostResponse] = TypeAdapter(HostResponse)
