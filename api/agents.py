"""An agent's `mcp.sock`: AgentRequest or, on the manager's, ManagerRequest. The socket says who is asking."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from api.host import spoken
from api.lines import LineConnection, LineServer, answer_lines
from api.listener import Bound
from api.principals import principal_of
from meta.errors import HiveError, Refused
from meta.names import MANAGER, AgentName, agent_name
from meta.wire import agent as wire
from meta.wire import manager
from meta.wire.codec import decode, encode
from meta.wire.common import InboxRow

if TYPE_CHECKING:
    from reconciler.service import Service

CONNECTIONS = 16
"""Most connections to one agent's mcp.sock; a harness needs two."""

WAIT_DEFAULT = 30
WAIT_MOST = 60
RECENT_MOST = 1000
LOGS_DEFAULT = 50
LOGS_MOST = 10_000

Request = wire.AgentRequest | manager.ManagerRequest
Response = wire.AgentResponse | manager.ManagerResponse
OK = wire.OkResponse()


def agent_server(
    bound: Bound, agent: AgentName, service: Service, *, limit: int, admit: Callable[[int | None], bool]
) -> LineServer:
    """The server for one agent's `mcp.sock`."""

    async def answer(line: bytes, connection: LineConnection, held: list[int]) -> Response:
        if agent == MANAGER:
            asked = decode(manager.MANAGER_REQUEST, line)
            return await while_there(connection, asked, answer_manager(service, asked, held))
        request = decode(wire.AGENT_REQUEST, line)
        return await while_there(connection, request, answer_agent(service, agent, request, held))

    async def session(connection: LineConnection) -> None:
        held: list[int] = []

        async def handle(line: bytes) -> bytes:
            return encode(await answer(line, connection, held))

        async def written(sent: bool) -> None:
            while held:
                id = held.pop()
                if sent:
                    service.broker.seen(agent, id)
                else:
                    await service.broker.unseen(agent, id)

        await answer_lines(connection, handle, fault_line, written)

    return LineServer(bound, session, limit=limit, fault=fault_line, admit=admit, connections=CONNECTIONS)


async def while_there(
    connection: LineConnection, request: Request, answer: Coroutine[None, None, Response]
) -> Response:
    """The answer. A `recv` is cancelled when its caller is gone, and puts back what it took; all else is done."""
    return await (connection.while_connected(answer) if isinstance(request, wire.Recv) else answer)


async def answer_manager(
    service: Service, request: manager.ManagerRequest, held: list[int] | None = None
) -> manager.ManagerResponse:
    """What only the manager may ask, then what every agent may."""
    by = principal_of(MANAGER).who
    match request:
        case manager.RequestSpawn(name=name, description=description):
            await service.request_spawn(agent_name(name), by, description or "")
        case manager.RequestApplyCommit(agent=name, commit_ref=commit, description=description):
            await service.propose(agent_name(name), by, commit, description or "")
        case manager.Kill(name=name):
            await service.stop(_other(name, "stop"), by)
        case manager.Start(name=name):
            await service.start(agent_name(name), by)
        case manager.Restart(name=name):
            await service.restart(agent_name(name), by)
        case manager.Update(name=name):
            await service.rebuild(agent_name(name), by)
        case manager.GetLogs(agent=name, lines=lines):
            count = min(LOGS_DEFAULT if lines is None else lines, LOGS_MOST)
            return manager.LogsResponse(content=await service.logs(_other(name, "read the logs of"), count))
        case _:
            return await answer_agent(service, MANAGER, request, held)
    return OK


async def answer_agent(
    service: Service, agent: AgentName, request: wire.AgentRequest, held: list[int] | None = None
) -> wire.AgentResponse:
    """What every agent may ask, about itself only. Into `held` goes the id of a message whose answer is to be written:
    until it is, no ack is for it (see Broker.recv).
    """
    broker = service.broker
    match request:
        case wire.Send(to=to, body=body):
            await broker.send(agent, to, body)
        case wire.OperatorMsg(body=body):
            await broker.operator_msg(agent, body, verified=False)
        case wire.Wake(sender=label, body=body):
            await broker.wake(agent, label, body)
        case wire.Recv(wait_seconds=seconds):
            return await _recv(service, agent, seconds, held)
        case wire.Status():
            service.links.legacy(agent)
            return wire.StatusResponse(unread=await broker.unread(agent))
        case wire.Recent(limit=limit):
            rows = await broker.recent(agent, min(limit, RECENT_MOST))
            return wire.RecentResponse(
                rows=tuple(InboxRow(id=row.id, sender=row.sender, body=row.body, at=int(row.at)) for row in rows)
            )
        case wire.AckTurn():
            await broker.ack_turn(agent)
        case wire.RequeueInflight():
            await broker.requeue_inflight(agent)
        case wire.Whoami():
            role = "manager" if agent == MANAGER else "agent"
            return wire.WhoamiResponse(name=agent, role=role, hyperhive_rev=service.revision() or None)
        case _:
            return await answer_later(service, agent, request)
    return OK


async def answer_later(service: Service, agent: AgentName, request: wire.AgentRequest) -> wire.AgentResponse:
    """Questions, reminders and loose ends."""
    match request:
        case wire.Ask(question=question, options=options, multi=multi, ttl_seconds=seconds, to=to):
            id = await service.questions.ask(agent, question, options, multi, seconds, to)
            return wire.QuestionQueuedResponse(id=id)
        case wire.Answer(id=id, answer=answer):
            await service.questions.answer(id, agent, answer)
        case wire.Remind(message=message, timing=timing, file_path=path):
            await service.reminders.remind(agent, message, timing, path)
        case wire.GetLooseEnds():
            return wire.LooseEndsResponse(loose_ends=await service.loose_ends(agent))
        case wire.CountPendingReminders():
            return wire.PendingRemindersCountResponse(count=await service.reminders.count(agent))
        case wire.CancelLooseEnd(kind=kind, id=id):
            await service.cancel_loose_end(kind, id, agent)
        case _:
            raise Refused(f"{request.cmd} is not known here")
    return OK


async def _recv(service: Service, agent: AgentName, seconds: int | None, held: list[int] | None) -> wire.AgentResponse:
    """One message, or empty after `seconds` (30 when None, at most 60); empty at once while it is being drained."""
    wait = min(WAIT_DEFAULT if seconds is None else seconds, WAIT_MOST)
    links = service.links
    links.legacy(agent)
    if links.draining(agent):
        return wire.EmptyResponse()
    message = await service.broker.recv(agent, wait, hold=held is not None)  # a drain interrupts it
    if message is None:
        return wire.EmptyResponse()
    if held is not None:
        held.append(message.id)
    return wire.MessageResponse(
        sender=message.sender, body=message.body, id=message.id, redelivered=message.redelivered
    )


def _other(name: str, verb: str) -> AgentName:
    agent = agent_name(name)
    if agent == MANAGER:
        raise Refused(f"the manager may not {verb} itself", "ask the operator")
    return agent


def fault_line(error: HiveError) -> bytes:
    """An error as these sockets answer it."""
    return encode(wire.ErrResponse(message=spoken(error)))
