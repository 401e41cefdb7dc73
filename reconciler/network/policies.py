"""The policy of all agents as it is to be now, made again only for the agents of which something changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from meta.agent_toml.settings import AgentSettings
from meta.errors import HiveError, TransientError
from meta.model import NetworkGrant
from meta.names import AgentName
from meta.network.policy import AgentPolicy, Policy
from reconciler.network.operator import OperatorSettings
from reconciler.network.policy import Judgement, Needs, Operator, fit, judge
from reconciler.network.reach import in_force
from reconciler.observe.settings import CLOSED

DAMAGED = "its agent.toml cannot be read: it keeps what it could reach, and gets nothing new"
TOO_LONG = "its rules are left out, because those of all agents together are too long"
MANY = 100
"""Agents whose policy is put together beside the event loop."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What policies are made of: the agents that exist, the settings that each one runs with, what is granted or held.

    `refresh` reads meta again. `held` returns why the keys of an agent are closed, "" if they are not. `identity`
    returns what tells an agent from an earlier one of its name, "" while that is not known.
    """

    refresh: Callable[[], Awaitable[object]]
    names: Callable[[], list[AgentName]]
    settings: Callable[[AgentName], Awaitable[AgentSettings | None]]
    grants: Callable[[AgentName], tuple[NetworkGrant, ...]]
    held: Callable[[AgentName], str]
    operator: OperatorSettings
    identity: Callable[[AgentName], str] = str
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class _Known:
    needs: Needs
    operator: Operator
    judged: Judgement
    damaged: bool
    kept: Needs | None = None
    """Nothing was read yet: hive-egress goes on with its last policy of the agent while its needs are these."""


class Policies:
    """The policies. `policy` is that of the last `read`, and `revision` its own, which takes long for many agents.

    A new daemon that cannot read an agent's file yet takes nothing from it: hive-egress keeps what it has. But a grant
    that is given or taken back, or keys that are closed or opened, are obeyed: then the agent has its grants alone.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known: dict[AgentName, _Known] = {}
        self._operator = Operator()
        self._cut: frozenset[AgentName] = frozenset()
        self.policy = Policy()
        self.revision = self.policy.revision

    @property
    def needed(self) -> bool:
        """True if an agent may reach anything."""
        agents = self.policy.agents.values()
        return bool(self.policy.keep) or any(each.rules or each.grants or each.routes for each in agents)

    @property
    def operator_problem(self) -> str:
        """What is wrong with the operator's file or ceiling, "" if nothing is."""
        return self._sources.operator.problem

    async def read(self) -> Policy:
        """Return the policy of now."""
        with contextlib.suppress(HiveError):  # what was read last stays in force; other lines say so
            await self._sources.refresh()
        operator, now = self._operator_of_now(), self._sources.clock()
        known = {agent: await self._judge(agent, operator, now) for agent in self._sources.names()}
        if _outcome(self._known) != _outcome(known):
            agents = {agent: each.judged.policy for agent, each in known.items() if each.kept is None}
            keep = frozenset(known.keys() - agents.keys())
            beside = asyncio.to_thread(_fit, agents, keep) if len(agents) > MANY else None
            self.policy, self._cut, self.revision = await beside if beside is not None else _fit(agents, keep)
        self._known = known  # only now: if this is cancelled, the next read makes the policy
        return self.policy

    def problems(self, agent: AgentName) -> tuple[str, ...]:
        """Return what of the agent's configuration is not in force, one line each."""
        known = self._known.get(agent)
        if known is None:
            return ()
        damaged = (DAMAGED,) if known.damaged else ()
        return (*known.judged.problems, *damaged, *((TOO_LONG,) if agent in self._cut else ()))

    def _operator_of_now(self) -> Operator:
        file, ceiling = self._sources.operator.file(), self._sources.operator.ceiling()
        if file is not self._operator.file or ceiling != self._operator.ceiling:
            self._operator = Operator(file, ceiling)
        return self._operator

    async def _judge(self, agent: AgentName, operator: Operator, now: float) -> _Known:
        known = self._known.get(agent)
        settings, damaged = await self._settings(agent), False
        if settings is None or settings is CLOSED:
            settings, damaged = known.needs.settings if known is not None else None, settings is CLOSED
        needs = Needs(settings, self._sources.grants(agent), self._sources.held(agent), self._sources.identity(agent))
        kept = self._kept(agent, needs, now) if settings is None or not needs.identity else None
        if kept is not None:
            return _Known(needs, operator, judge(agent, needs, operator, now), damaged, kept)
        if (
            known is not None
            and known.kept is None
            and known.needs == needs
            and known.operator is operator
            and not needs.grants
        ):
            return known if known.damaged == damaged else _Known(needs, operator, known.judged, damaged)
        await asyncio.sleep(0)  # all of many agents are judged anew when the operator's file changes
        return _Known(needs, operator, judge(agent, needs, operator, now), damaged)

    def _kept(self, agent: AgentName, needs: Needs, now: float) -> Needs | None:
        """Return the needs that an agent had when it was first seen, if nothing of it was known since, and if the
        operator changed nothing since.
        """
        known = self._known.get(agent)
        if known is not None and known.kept is None:
            return None
        first = known.kept if known is not None and known.kept is not None else needs
        same = first.held == needs.held and in_force(first.grants, now) == in_force(needs.grants, now)
        return first if same else None

    async def _settings(self, agent: AgentName) -> AgentSettings | None:
        """Return the settings that an agent runs with; None if they cannot be read now, or if it runs with none."""
        try:
            return await self._sources.settings(agent)
        except TransientError:
            return None


def _outcome(known: Mapping[AgentName, _Known]) -> dict[AgentName, Judgement | None]:
    return {agent: each.judged if each.kept is None else None for agent, each in known.items()}


def _fit(
    agents: Mapping[AgentName, AgentPolicy], keep: frozenset[AgentName]
) -> tuple[Policy, frozenset[AgentName], str]:
    policy, cut = fit(agents, keep)
    return policy, cut, policy.revision
