"""The way out of the fake service: fixed views, and records of what was asked for."""

from __future__ import annotations

from collections.abc import Callable

from meta.errors import NotFound
from meta.names import AgentName, ProposalId
from meta.network.report import ConnectionRecord
from meta.network.verdict import Verdict
from reconciler.network.reach import RuleRow
from reconciler.network.requests import NetworkRequest
from reconciler.network.views import (
    Connections,
    NetworkAllowed,
    NetworkChanged,
    NetworkView,
    RefusedHost,
    Suggestion,
)

FAR = 4_000_000_000
REQUEST = NetworkRequest(3, "alice", "crates.io", 443, "to \x1b[2Jbuild", 2, 1_700_000_000, 1_700_000_000)
VIEW = NetworkView(
    AgentName("alice"),
    (
        RuleRow("*.example.org", "agent.toml"),
        RuleRow("pypi.org", "@python"),
        RuleRow("a.example", "grant", FAR, "operator"),
    ),
    1,
    2048,
    4096,
    {"allowed": 7, "not-listed": 12},
    (RefusedHost("static.crates.io", 443, "static.crates.io:443", 12, 5.0, 6.0),),
    (REQUEST,),
    ("anthropic",),
)
RECORDS = (
    ConnectionRecord(1, 5.0, "tunnel", "a.example", 443, Verdict.ALLOWED, "", 10, 20, 1.0, "closed"),
    ConnectionRecord(0, 6.0, "tunnel", "b.example", 443, Verdict.ALLOWED),
    ConnectionRecord(3, 7.0, "tunnel", "crates.io", 443, Verdict.NOT_LISTED, "not on the list", end="closed"),
)


class FakeNetwork:
    """The methods. `record` takes each command; `known` raises NotFound. Tests replace `answers`."""

    def __init__(self, known: Callable[[AgentName], None], record: Callable[[tuple[object, ...]], None]) -> None:
        self._known = known
        self._record = record
        self.answers: list[Connections] = []

    async def __call__(self, agent: AgentName | None = None) -> list[NetworkView]:
        if agent is not None:
            self._known(agent)
        return [VIEW]

    async def pending(self) -> list[NetworkRequest]:
        return [REQUEST]

    async def connections(self, agent: AgentName, after: int) -> Connections:
        self._known(agent)
        if self.answers:
            return self.answers.pop(0)
        return Connections(agent, tuple(record for record in RECORDS if record.open or record.number > after), 3)

    async def suggest(self, agent: AgentName, group: str | None, merge: bool) -> Suggestion:
        self._known(agent)
        if merge:
            raise NotFound(f"{agent} was refused nothing", "`hive network`")
        return Suggestion(agent, ("crates.io",), ("crates.io",), "[network]\n", "[groups]\n" if group else "", ("n",))

    async def allow(self, agent: AgentName, what: str, seconds: int, by: str) -> NetworkAllowed:
        self._known(agent)
        self._record(("allow", agent, what, seconds, by))
        return NetworkAllowed(agent, what, FAR, answered=(3,))

    async def propose(self, agent: AgentName, what: str, by: str) -> NetworkAllowed:
        self._known(agent)
        self._record(("propose", agent, what, by))
        return NetworkAllowed(agent, what, proposal=ProposalId(7), notes=("proposal 5 changes agent.toml too",))

    async def revoke(self, agent: AgentName, what: str, by: str) -> NetworkChanged:
        self._known(agent)
        self._record(("revoke", agent, what, by))
        return NetworkChanged(agent, what, f"{agent} may not reach {what} any more")

    async def deny(self, agent: AgentName, request: int, by: str, reason: str = "") -> NetworkChanged:
        self._known(agent)
        self._record(("deny", agent, request, by, reason))
        return NetworkChanged(agent, "crates.io:443", f"request {request} is denied")

    async def request(self, agent: AgentName, host: str, port: int, why: str) -> NetworkRequest:
        self._record(("request", agent, host, port, why))
        return NetworkRequest(4, agent, host, port, why, 1, 5, 5)
