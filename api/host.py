"""`host.sock`: the operator's line protocol, exactly HostRequest and HostResponse. What is beyond it is HTTP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from api.lines import LineConnection, LineServer, answer_lines
from api.listener import Bound
from api.principals import Operator
from meta.errors import HiveError
from meta.model import DeployKind
from meta.names import agent_name, proposal_id
from meta.wire import host
from meta.wire.codec import decode, encode
from meta.wire.common import Approval, ApprovalKind, ApprovalStatus

if TYPE_CHECKING:
    from reconciler.service import Service
    from reconciler.views import Card

log = logging.getLogger(__name__)


def host_server(bound: Bound, service: Service, *, limit: int) -> LineServer:
    """The server for `host.sock`; who may connect is the mode of the file, who it was is recorded."""

    async def session(connection: LineConnection) -> None:
        by = Operator(connection.uid).who

        async def handle(line: bytes) -> bytes:
            return encode(await answer(service, by, decode(host.HOST_REQUEST, line)))

        await answer_lines(connection, handle, fault_line)

    return LineServer(bound, session, limit=limit, fault=fault_line)


async def answer(service: Service, by: str, request: host.HostRequest) -> host.HostResponse:
    """Do what is asked; returns once it is durable. HiveError when it is not done."""
    match request:
        case host.Spawn(name=name):
            await service.spawn(agent_name(name), by)
        case host.RequestSpawn(name=name):
            await service.request_spawn(agent_name(name), by)
        case host.Kill(name=name):
            await service.stop(agent_name(name), by)
        case host.Destroy(name=name, purge=purge):
            await service.destroy(agent_name(name), by, purge)
        case host.Rebuild(name=name):
            await service.rebuild(agent_name(name), by)
        case host.ListAgents():
            return host.HostResponse(ok=True, agents=tuple(service.agents()))
        case host.Pending():
            return host.HostResponse(ok=True, approvals=tuple(approval(card) for card in await service.pending()))
        case host.Approve(id=id):
            await service.approve(proposal_id(id), by)
        case host.Deny(id=id):
            await service.deny(proposal_id(id), by)
    return host.HostResponse(ok=True)


def approval(card: Card) -> Approval:
    """A card as the wire has it. A rollback is a commit to apply: the wire knows no third kind."""
    return Approval(
        id=card.id,
        agent=card.agent,
        kind=ApprovalKind.SPAWN if card.kind is DeployKind.SPAWN else ApprovalKind.APPLY_COMMIT,
        commit_ref=card.commit_ref,
        fetched_sha=card.fetched_sha,
        requested_at=card.requested_at,
        status=ApprovalStatus(card.status),
        resolved_at=card.resolved_at,
        note=card.note,
        description=card.description,
    )


def fault_line(error: HiveError) -> bytes:
    """An error as this socket answers it."""
    return encode(host.HostResponse(ok=False, error=spoken(error)))


def spoken(error: HiveError) -> str:
    """What, and in brackets what to do about it."""
    return f"{error.summary} ({error.hint})" if error.hint else error.summary
