"""Messages: between agents, to and from the operator, and the books that a harness keeps of its inbox."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent

from pydantic import Field

from api.operations.base import (
    AGENTS,
    EVERYBODY,
    OPERATORS,
    Call,
    Input,
    Role,
    Route,
    Tool,
    on_agents,
    operation,
)
from meta.errors import NotFound
from meta.names import ALL, AgentName, agent_name
from meta.wire import agent as wire
from meta.wire.common import I64, U64, InboxRow, Wire
from meta.wire.limits import BODY_BYTES, WAIT_MOST

INDENT = "    "
"""Before each line of a body: what stands unindented is hive's own, so no body looks like another message."""
WAIT_DEFAULT = 30
RECENT_MOST = 1000


class Sending(Input):
    """A message. `key`: a second one with the same key is not sent; the first one's id is answered again."""

    to: str = Field(
        description="an agent's name, `manager`, or `*` for every other agent and the manager", examples=["alice"]
    )
    body: str = Field(
        description="what to say, at most 1 MiB of UTF-8",
        examples=["the tests pass"],
        json_schema_extra={"maxLength": BODY_BYTES},
    )
    key: str | None = Field(None, min_length=1, max_length=200, description="against double sends")


class Newest(Input):
    """How many."""

    limit: U64 = Field(50, description=f"how many; never more than {RECENT_MOST}")


class Reading(Input):
    """Up to where."""

    up_to: I64 = Field(description="the newest message that was read")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is on disk."""

    id: int
    to: str


@dataclass(frozen=True, slots=True)
class Read:
    """How many were new."""

    read: int


def _rows(rows: list[InboxRow]) -> wire.RecentResponse:
    return wire.RecentResponse(rows=tuple(rows))


def _unread(count: int) -> wire.StatusResponse:
    return wire.StatusResponse(unread=count)


def _itself(answer: Wire) -> Wire:
    return answer


def _introduced(_call: Call, answer: wire.WhoamiResponse) -> str:
    return f"{answer.name} ({answer.role}), hive {answer.hyperhive_rev or 'unknown'}"


def _posted(_call: Call, sent: Sent) -> str:
    return f"sent to {'everybody' if sent.to == ALL else sent.to}"


def _heard(_call: Call, answer: wire.MessageResponse | wire.EmptyResponse) -> str:
    if isinstance(answer, wire.EmptyResponse):
        return "no message"
    return f"from: {answer.sender}\n\n{indent(answer.body, INDENT, lambda _: True)}"


@operation(
    "send",
    EVERYBODY,
    lines=(on_agents(wire.Send),),
    routes=(Route("POST", "/api/messages", status=201, limit=2**23),),
    tool=Tool(_posted),
)
async def send(call: Call, asked: Sending) -> Sent:
    """Send a message to an agent, the manager or the operator, or (`*`) to every other agent and the manager."""
    if call.role is Role.OPERATOR and asked.to != ALL and agent_name(asked.to) not in call.service.agents():
        raise NotFound(f"there is no agent {asked.to}", "see `hive list`")
    return Sent(await call.service.broker.send(call.name, asked.to, asked.body, asked.key), asked.to)


@operation("recv", AGENTS, lines=(on_agents(wire.Recv, _itself),), tool=Tool(_heard), waits=True)
async def recv(call: Call, asked: wire.Recv) -> wire.MessageResponse | wire.EmptyResponse:
    """Take one message, waiting for it if there is none; empty after that, or at once while the agent is drained. The
    sender stands before it; all of its text is indented by four spaces."""
    wait = min(WAIT_DEFAULT if asked.wait_seconds is None else asked.wait_seconds, WAIT_MOST)
    agent, links, broker = AgentName(call.name), call.service.links, call.service.broker
    links.legacy(agent)
    if links.draining(agent):
        return wire.EmptyResponse()
    view = links.view(agent)
    launch = view.nonce if view.connected else None
    message = await broker.recv(agent, wait, launch, hold=True)  # a drain interrupts it
    if message is None:
        return wire.EmptyResponse()
    id = message.id

    async def written(sent: bool) -> None:
        if sent:
            broker.seen(agent, id)
        else:
            await broker.unseen(agent, id)

    call.after.append(written)
    return wire.MessageResponse(sender=message.sender, body=message.body, id=id, redelivered=message.redelivered)


@operation("status", AGENTS, lines=(on_agents(wire.Status, _unread),))
async def status(call: Call, _asked: wire.Status) -> int:
    """How many messages wait for the caller."""
    call.service.links.legacy(AgentName(call.name))
    return await call.service.broker.unread(call.name)


@operation("recent", EVERYBODY, lines=(on_agents(wire.Recent, _rows),), routes=(Route("GET", "/api/messages"),))
async def recent(call: Call, asked: Newest) -> list[InboxRow]:
    """The newest messages to the caller, newest first; takes none."""
    rows = await call.service.broker.recent(call.name, min(asked.limit, RECENT_MOST))
    return [InboxRow(id=row.id, sender=row.sender, body=row.body, at=int(row.at)) for row in rows]


@operation("mark_read", OPERATORS, routes=(Route("POST", "/api/messages/read"),))
async def mark_read(call: Call, asked: Reading) -> Read:
    """The operator has read its inbox up to and with a message."""
    return Read(await call.service.broker.mark_read(asked.up_to))


@operation("ack_turn", AGENTS, lines=(on_agents(wire.AckTurn),))
async def ack_turn(call: Call, _asked: wire.AckTurn) -> int:
    """Everything that the caller took since the last time is handled."""
    return await call.service.broker.ack_turn(call.name)


@operation("requeue_inflight", AGENTS, lines=(on_agents(wire.RequeueInflight),))
async def requeue_inflight(call: Call, _asked: wire.RequeueInflight) -> int:
    """Everything that the caller took and did not acknowledge waits again."""
    return await call.service.broker.requeue_inflight(call.name)


@operation("operator_msg", AGENTS, lines=(on_agents(wire.OperatorMsg),))
async def operator_msg(call: Call, asked: wire.OperatorMsg) -> int:
    """A message to the caller from its own terminal, which says that it is the operator; anything there could."""
    return await call.service.broker.operator_msg(call.name, asked.body, verified=False)


@operation("wake", frozenset({Role.AGENT}), lines=(on_agents(wire.Wake, manager=False),))
async def wake(call: Call, asked: wire.Wake) -> int:
    """A message to the caller from something inside its container, shown as `wake:<from>`."""
    return await call.service.broker.wake(call.name, asked.sender, asked.body)


@operation(
    "whoami",
    AGENTS,
    lines=(on_agents(wire.Whoami, _itself),),
    tool=Tool(_introduced),
)
async def whoami(call: Call, _asked: wire.Whoami) -> wire.WhoamiResponse:
    """The caller's name and role, and the hive's revision where it is known."""
    role = "manager" if call.role is Role.MANAGER else "agent"
    return wire.WhoamiResponse(name=call.name, role=role, hyperhive_rev=call.service.revision() or None)


MESSAGES = (send, recv, status, recent, mark_read, ack_turn, requeue_inflight, operator_msg, wake, whoami)
