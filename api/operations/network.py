"""The way out: what agents may reach, what they asked for, and the operator's decisions.

An agent may only ask. It cannot see the rules of others, and nothing that it says allows anything.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.operations.base import (
    AGENTS,
    CHANGES,
    OPERATORS,
    READS,
    REMOVES,
    AgentField,
    Call,
    Input,
    Nothing,
    Route,
    Tool,
    operation,
)
from meta.names import AgentName
from meta.wire.common import I64, Wire
from reconciler.network.requests import NetworkRequest
from reconciler.network.views import Connections, NetworkAllowed, NetworkChanged, NetworkView, Suggestion

RULE_LIMIT = 300
HOST_LIMIT = 300
TEXT_LIMIT = 4096
"""Characters of a reason. Of it the first 300 are kept, on one line."""
HOUR = 3600

RuleField = Annotated[
    str,
    Field(
        min_length=1, max_length=RULE_LIMIT, description="a rule, or the number of a request", examples=["crates.io"]
    ),
]


class NetworkInput(Input):
    """One agent, or all."""

    agent: AgentField | None = Field(None, description="only this agent")


class ConnectionsInput(Input):
    """The connections after a number."""

    agent: AgentField
    after: int = Field(0, ge=0, le=2**53, description="the number `next` of the answer before")


class AllowInput(Input):
    """A rule for an agent, for a time or for good."""

    agent: AgentField
    rule: RuleField
    seconds: int = Field(HOUR, ge=1, le=30 * 24 * HOUR, description="for how long, from now")
    propose: bool = Field(False, description="propose it for good, in agent.toml, instead of for a time")


class RevokeInput(Input):
    """A rule that was allowed for a time."""

    agent: AgentField
    rule: RuleField


class DenyInput(Input):
    """A request of an agent."""

    agent: AgentField
    request: I64 = Field(description="the number of the request")
    reason: str = Field("", max_length=TEXT_LIMIT, description="for the agent")


class SuggestInput(Input):
    """An agent, and the form of the text."""

    agent: AgentField
    group: str | None = Field(None, max_length=40, description="make a group of this name for network.toml")
    merge: bool = Field(False, description="make `*.name` of several hosts below one name")


class RequestNetwork(Wire):
    """The arguments of the tool `request_network`. It is on no line socket."""

    cmd: Literal["request_network"] = "request_network"
    host: str = Field(max_length=HOST_LIMIT, description="the name of one host, no URL", examples=["crates.io"])
    port: int = Field(443, ge=1, le=65_535, description="443 for https, 80 for http, 22 for ssh", examples=[443])
    why: str = Field(
        max_length=TEXT_LIMIT,
        description="what you need it for: a person reads it and decides",
        examples=["cargo build fetches the crates of Cargo.lock"],
    )


def _asked(_call: Call, request: NetworkRequest) -> str:
    again = f" (you asked {request.count} times)" if request.count > 1 else ""
    return (
        f"request {request.id} for {request.rule} waits for the operator{again}. Go on with something else: the answer "
        "comes as a message from the operator, and if it allows the host, that is in force by then"
    )


@operation("network", OPERATORS, READS, routes=(Route("GET", "/api/network"),))
async def network(call: Call, asked: NetworkInput) -> list[NetworkView]:
    """Return what each agent may reach and why, what it was refused, what it asks for, and its sums."""
    return await call.service.network(asked.agent)


@operation("network_requests", OPERATORS, READS, routes=(Route("GET", "/api/network/requests"),))
async def network_requests(call: Call, _asked: Nothing) -> list[NetworkRequest]:
    """List the pending requests of all agents, oldest first."""
    return await call.service.network.pending()


@operation("network_connections", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/network/connections"),))
async def network_connections(call: Call, asked: ConnectionsInput) -> Connections:
    """Return the connections of an agent after a number, and those that go on: what went where, refused or not."""
    return await call.service.network.connections(asked.agent, asked.after)


@operation("network_suggest", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/network/suggest"),))
async def network_suggest(call: Call, asked: SuggestInput) -> Suggestion:
    """Make the text that would allow an agent what it was refused. Nothing of it is in force."""
    return await call.service.network.suggest(asked.agent, asked.group, asked.merge)


@operation("network_allow", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/network/allow"),))
async def network_allow(call: Call, asked: AllowInput) -> NetworkAllowed:
    """Allow an agent a host for a time, and return once that is in force; or propose it for good."""
    commands = call.service.grants
    if asked.propose:
        return await commands.propose(asked.agent, asked.rule, call.who)
    return await commands.allow(asked.agent, asked.rule, asked.seconds, call.who)


@operation("network_deny", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/network/deny"),))
async def network_deny(call: Call, asked: DenyInput) -> NetworkChanged:
    """Deny what an agent asked for, and answer it."""
    return await call.service.grants.deny(asked.agent, asked.request, call.who, asked.reason)


@operation("network_revoke", OPERATORS, REMOVES, routes=(Route("POST", "/api/agents/{agent}/network/revoke"),))
async def network_revoke(call: Call, asked: RevokeInput) -> NetworkChanged:
    """Take back what an agent was allowed for a time. Its connections over that end."""
    return await call.service.grants.revoke(asked.agent, asked.rule, call.who)


@operation("request_network", AGENTS, CHANGES, tool=Tool(_asked, request=RequestNetwork))
async def request_network(call: Call, asked: RequestNetwork) -> NetworkRequest:
    """Ask the operator to let you reach a host that was refused ("403 ... is not on the list")."""
    return await call.service.grants.request(AgentName(call.name), asked.host, asked.port, asked.why)


NETWORK = (
    network,
    network_requests,
    network_connections,
    network_suggest,
    network_allow,
    network_deny,
    network_revoke,
    request_network,
)
