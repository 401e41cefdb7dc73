"""Messages between agents and with the operator, and how a harness acknowledges what it took."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import Literal

from pydantic import Field

from api.operations.base import (
    AGENTS,
    CHANGES,
    EVERYBODY,
    OPERATORS,
    READS,
    Call,
    Input,
    Role,
    Route,
    Tool,
    on_agents,
    operation,
)
from meta.errors import BadInput, NotFound
from meta.names import ALL, AgentName, agent_name
from meta.wire import agent as wire
from meta.wire.common import I64, U64, InboxRow, Sender, Wire
from meta.wire.limits import BODY_BYTES, WAIT_MOST
from reconciler.messaging.broker import MessageFilter, MessagePage, MessageRow
from reconciler.observe.links import Links

INDENT = "    "
"""The indentation of a body. Only hive's own text is not indented, so no body can pass for another message."""
WAIT_DEFAULT = 30
RECENT_MOST = 1000
NAME_MOST = 100
"""Characters of a sender's name: an agent's, `operator`, `system`, or `wake:` with a label."""


class SendInput(Input):
    """A message.

    `key`: hive does not send a second message with the same key. It returns the id of the first.
    """

    to: str = Field(
        description="an agent's name, `manager`, or `*` for every other agent and the manager", examples=["alice"]
    )
    body: str = Field(
        description="the text, at most 1 MiB of UTF-8",
        examples=["the tests pass"],
        json_schema_extra={"maxLength": BODY_BYTES},
    )
    key: str | None = Field(None, min_length=1, max_length=200, description="prevents sending the same message twice")


class Newest(Input):
    """The number of messages."""

    limit: U64 = Field(50, description=f"how many; never more than {RECENT_MOST}")
    unread: bool = Field(False, description="only those that are not read")


class AllMessagesInput(Input):
    """Which messages of all inboxes."""

    agent: str | None = Field(None, max_length=NAME_MOST, description="only those from or to it")
    peer: str | None = Field(None, max_length=NAME_MOST, description="of these only those from or to this one too")
    state: Literal["waiting", "in-flight", "done", "dead"] | None = Field(None, description="only those in this state")
    search: str = Field("", max_length=200, description="only those with these words, in upper or lower case (ASCII)")
    before: int | None = Field(None, ge=0, le=2**63 - 1, description="only those with a smaller id")
    limit: int = Field(50, ge=1, le=RECENT_MOST, description="how many")


class MessageInput(Input):
    """One message."""

    id: I64


class MarkReadInput(Input):
    """The messages that were read. Give one of the two."""

    up_to: I64 | None = Field(None, description="the newest message that was read, with all older ones")
    ids: tuple[I64, ...] | None = Field(None, max_length=RECENT_MOST, description="the messages that were read")


class Listed(Wire):
    """One message of a list; `at` in Unix seconds."""

    id: I64
    sender: Sender
    body: str
    at: I64
    unread: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is on disk."""

    id: int
    to: str


@dataclass(frozen=True, slots=True)
class Read:
    """The number of messages that were unread."""

    read: int


def _rows(rows: list[Listed]) -> wire.RecentResponse:
    return wire.RecentResponse(
        rows=tuple(InboxRow(id=row.id, sender=row.sender, body=row.body, at=row.at) for row in rows)
    )


def _unread(count: int) -> wire.StatusResponse:
    return wire.StatusResponse(unread=count)


def _unchanged(answer: Wire) -> Wire:
    return answer


def _identity_text(_call: Call, answer: wire.WhoamiResponse) -> str:
    return f"{answer.name} ({answer.role}), hive {answer.hyperhive_rev or 'unknown'}"


def _sent_text(_call: Call, sent: Sent) -> str:
    return f"sent to {'all' if sent.to == ALL else sent.to}"


def _message_text(_call: Call, answer: wire.MessageResponse | wire.EmptyResponse) -> str:
    if isinstance(answer, wire.EmptyResponse):
        return "no message"
    return f"from: {answer.sender}\n\n{indent(answer.body, INDENT, lambda _: True)}"


@operation(
    "send",
    EVERYBODY,
    CHANGES,
    lines=(on_agents(wire.Send),),
    routes=(Route("POST", "/api/messages", status=201, limit=2**23),),
    tool=Tool(_sent_text),
)
async def send(call: Call, asked: SendInput) -> Sent:
    """Send a message to an agent, the manager or the operator, or (`*`) to every other agent and the manager."""
    if call.role is Role.OPERATOR and asked.to != ALL and agent_name(asked.to) not in call.service.names():
        raise NotFound(f"there is no agent {asked.to}", "see `hive list`")
    return Sent(await call.service.broker.send(call.name, asked.to, asked.body, asked.key), asked.to)


@operation("recv", AGENTS, CHANGES, lines=(on_agents(wire.Recv, _unchanged),), tool=Tool(_message_text), waits=True)
async def recv(call: Call, asked: wire.Recv) -> wire.MessageResponse | wire.EmptyResponse:
    """Take one message; if there is none, wait for it. The answer is empty after the wait, and at once while the agent
    is drained. The sender stands before the text, which is indented by four spaces.
    """
    wait = min(WAIT_DEFAULT if asked.wait_seconds is None else asked.wait_seconds, WAIT_MOST)
    agent, links, broker = AgentName(call.name), call.service.links, call.service.broker
    links.legacy(agent)
    if links.draining(agent) or not await _is_free(links, agent, wait):
        return wire.EmptyResponse()
    taken = await broker.recv(agent, wait, _launch(call), hold=True)  # a drain interrupts it
    if taken is None:
        return wire.EmptyResponse()
    id = taken.id

    async def written(sent: bool) -> None:
        if sent:
            broker.confirm(agent, id)
        else:
            await broker.release(agent, id)

    call.after.append(written)
    return wire.MessageResponse(sender=taken.sender, body=taken.body, id=id, redelivered=taken.redelivered)


async def _is_free(links: Links, agent: AgentName, seconds: float) -> bool:
    """Return True if nothing keeps the agent from turns. Else wait, and return False.

    A harness that does not know holds asks again at once, so the answer has to take its time.
    """
    if not links.held(agent):
        return True
    await links.wait_until_free(agent, seconds)
    return False


@operation("status", AGENTS, READS, lines=(on_agents(wire.Status, _unread),))
async def status(call: Call, _asked: wire.Status) -> int:
    """Count the caller's unread messages."""
    call.service.links.legacy(AgentName(call.name))
    return await call.service.broker.unread(call.name)


@operation("recent", EVERYBODY, READS, lines=(on_agents(wire.Recent, _rows),), routes=(Route("GET", "/api/messages"),))
async def recent(call: Call, asked: Newest) -> list[Listed]:
    """List the newest messages to the caller, newest first, without taking them."""
    rows = await call.service.broker.recent(call.name, min(asked.limit, RECENT_MOST), only_unread=asked.unread)
    return [Listed(id=row.id, sender=row.sender, body=row.body, at=int(row.at), unread=row.unread) for row in rows]


@operation("all_messages", OPERATORS, READS, routes=(Route("GET", "/api/all-messages"),))
async def all_messages(call: Call, asked: AllMessagesInput) -> MessagePage:
    """List the messages of all inboxes, newest first, with the beginnings of their bodies, without taking them."""
    wanted = MessageFilter(asked.agent or None, asked.peer or None, asked.state, asked.search, asked.before)
    return await call.service.broker.page(wanted, asked.limit)


@operation("message", OPERATORS, READS, routes=(Route("GET", "/api/all-messages/{id}"),))
async def message(call: Call, asked: MessageInput) -> MessageRow:
    """Return one message of any inbox, whole, without taking it."""
    return await call.service.broker.get(asked.id)


@operation("mark_read", OPERATORS, CHANGES, routes=(Route("POST", "/api/messages/read"),))
async def mark_read(call: Call, asked: MarkReadInput) -> Read:
    """Mark the operator's messages as read: up to and including one, or exactly those that are named."""
    if asked.ids is not None and asked.up_to is None:
        return Read(await call.service.broker.mark_these_read(asked.ids))
    if asked.up_to is None or asked.ids is not None:
        raise BadInput("give either up_to or ids", "ids marks only what was shown")
    return Read(await call.service.broker.mark_read(asked.up_to))


@operation("ack_turn", AGENTS, CHANGES, lines=(on_agents(wire.AckTurn),))
async def ack_turn(call: Call, _asked: wire.AckTurn) -> int:
    """Acknowledge every message that the caller has taken."""
    count = await call.service.broker.ack_turn(call.name)
    if count:
        call.service.links.acked(AgentName(call.name))
    return count


@operation("requeue_inflight", AGENTS, CHANGES, lines=(on_agents(wire.RequeueInflight),))
async def requeue_inflight(call: Call, _asked: wire.RequeueInflight) -> int:
    """Requeue every message that the caller has taken and not acknowledged."""
    return await call.service.broker.requeue_inflight(call.name, _launch(call))


def _launch(call: Call) -> str | None:
    """Return the launch of the caller, which its harness named on the link; None without a link."""
    view = call.service.links.view(AgentName(call.name))
    return view.nonce if view.connected else None


@operation("operator_msg", AGENTS, CHANGES, lines=(on_agents(wire.OperatorMsg),))
async def operator_msg(call: Call, asked: wire.OperatorMsg) -> int:
    """Send the caller a message as an unverified operator. Any program in the caller's container can do that."""
    return await call.service.broker.operator_msg(call.name, asked.body, verified=False)


@operation("wake", frozenset({Role.AGENT}), CHANGES, lines=(on_agents(wire.Wake, manager=False),))
async def wake(call: Call, asked: wire.Wake) -> int:
    """Send the caller a message from a program in its container. Its sender is `wake:<from>`."""
    return await call.service.broker.wake(call.name, asked.sender, asked.body)


@operation(
    "whoami",
    AGENTS,
    READS,
    lines=(on_agents(wire.Whoami, _unchanged),),
    tool=Tool(_identity_text),
)
async def whoami(call: Call, _asked: wire.Whoami) -> wire.WhoamiResponse:
    """Return the caller's name and role, and the hive's revision if it is known."""
    role = "manager" if call.role is Role.MANAGER else "agent"
    return wire.WhoamiResponse(name=call.name, role=role, hyperhive_rev=call.service.revision or None)


MESSAGES = (
    send,
    recv,
    status,
    recent,
    all_messages,
    message,
    mark_read,
    ack_turn,
    requeue_inflight,
    operator_msg,
    wake,
    whoami,
)
