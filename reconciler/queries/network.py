"""The way out of each agent: what it may reach and why, what was refused, what went where."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from meta.agent_toml.settings import AgentSettings
from meta.errors import HiveError, NotFound
from meta.model import NetworkGrant
from meta.names import AgentName
from meta.network.operator_file import OperatorFile
from meta.network.report import AgentReport
from reconciler.network.policy import Operator
from reconciler.network.ports import Obeyed
from reconciler.network.reach import reach_of
from reconciler.network.refusals import refused_hosts
from reconciler.network.requests import NetworkRequest, Requests
from reconciler.network.suggest import suggest
from reconciler.network.views import Connections, NetworkView, Suggestion
from reconciler.observe.settings import DeployedSettings
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class NetworkQuery:
    """The queries. `names` returns the agents that exist, `problems` what is wrong with an agent's way out.

    `notes` returns what is wrong with that of all.
    """

    world: World
    settings: DeployedSettings
    way_out: Obeyed
    requests: Requests
    names: Callable[[], list[AgentName]]
    problems: Callable[[AgentName], tuple[str, ...]] = lambda _: ()
    notes: Callable[[], tuple[str, ...]] = tuple

    async def __call__(self, agent: AgentName | None = None) -> list[NetworkView]:
        """Return the way out of one agent, or of all. Raise NotFound."""
        names = self.names()
        if agent is not None and agent not in names:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        pending = await self.requests.pending(agent)
        return [await self._view(name, pending) for name in names if agent in (None, name)]

    async def pending(self) -> list[NetworkRequest]:
        """Return every pending request, oldest first."""
        return await self.requests.pending()

    async def connections(self, agent: AgentName, after: int) -> Connections:
        """Return the connections of an agent after a number. Raise NotFound, TransientError."""
        if agent not in self.names():
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        records = await self.way_out.connections(agent, after)
        last = max((record.number for record in records), default=after)
        ordered = sorted(records, key=lambda record: (record.open, record.number, record.at))
        return Connections(agent, tuple(ordered), max(last, after))

    async def suggest(self, agent: AgentName, group: str | None, merge: bool) -> Suggestion:
        """Return the text that would allow what the agent was refused. Nothing of it is in force."""
        (view,) = await self(agent)
        return suggest(view, group, merge, self.world.network.file(), self.world.network.ceiling())

    async def _view(self, agent: AgentName, pending: list[NetworkRequest]) -> NetworkView:
        report = self.way_out.report
        each = (report.agents.get(agent) if report is not None else None) or AgentReport()
        network = self.world.network
        operator = Operator(network.file(), network.ceiling())
        grants, now = self._grants(agent), self.world.clock()
        policy = self.way_out.policy.agents.get(agent)
        return NetworkView(
            agent,
            reach_of(agent, await self._settings(agent), operator, grants, now),
            each.open,
            each.sent,
            each.received,
            {str(verdict): count for verdict, count in each.verdicts.items() if count},
            refused_hosts(each, operator.ceiling),
            tuple(request for request in pending if request.agent == agent),
            tuple(sorted(policy.routes)) if policy is not None else (),
            policy.held if policy is not None else "",
            self.notes(),
            self.problems(agent),
            git_keys(operator.file, policy.routes) if policy is not None else {},
        )

    def _grants(self, agent: AgentName) -> tuple[NetworkGrant, ...]:
        return self.world.observer.known().run_of(agent).grants

    async def _settings(self, agent: AgentName) -> AgentSettings | None:
        try:
            return await self.settings.of(agent)
        except HiveError:
            return None  # `problems` says so


def git_keys(file: OperatorFile, names: Collection[str]) -> dict[str, str]:
    """Return the upstream of each key of kind git among these, in the order of the file."""
    return {name: route.upstream for name, route in file.routes.items() if name in names and route.kind == "git"}
