"""Events and answers about the way out: what was refused, which grants are in force or have ended, which requests
are allowed by now.

By level, after each report of hive-egress: what was recorded before has a key, and a request that is decided stays so.
A grant, a deploy or a new daemon need no rule of their own. Nothing is answered before hive-egress obeys the rule: the
policy that it obeys decides, not the one that was asked for.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from meta.errors import HiveError
from meta.model import NetworkGrant
from meta.names import HIVE, AgentName
from meta.network.policy import AgentPolicy
from meta.network.report import Refusal, Report
from meta.network.rule import Rule, covers, parse_rule
from reconciler.common.token_bucket import Allowance
from reconciler.network.ports import Obeyed
from reconciler.network.requests import NetworkRequest, Requests
from reconciler.store.events import keys
from reconciler.store.events.keys import Key

log = logging.getLogger(__name__)
_Grant = tuple[AgentName, str, int]


class Append(Protocol):
    """Appends an event (reconciler.events.feed.Events.append)."""

    async def __call__(
        self, kind: str, agent: AgentName | None, data: Mapping[str, object], *, key: Key | None = None
    ) -> object | None:
        """Append an event. Return None if one with this key exists."""


class Answers:
    """Makes the events and the answers.

    `grants` returns what meta's branch `run` has for an agent, ended ones included; `ceiling` the operator's ceiling.
    `allowance` limits the events that an agent causes.
    """

    def __init__(
        self,
        append: Append,
        way_out: Obeyed,
        requests: Requests,
        *,
        names: Callable[[], Iterable[AgentName]],
        grants: Callable[[AgentName], tuple[NetworkGrant, ...]],
        ceiling: Callable[[], tuple[Rule, ...] | None],
        allowance: Allowance | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._append = append
        self._way_out = way_out
        self._requests = requests
        self._names = names
        self._grants = grants
        self._ceiling = ceiling
        self._allowance = allowance or Allowance()
        self._clock = clock
        self._refused: defaultdict[AgentName, frozenset[Refusal]] = defaultdict(frozenset)
        self._allowed: set[_Grant] = set()
        self._ended: set[_Grant] = set()

    async def on_report(self, _report: Report) -> None:
        """Record what is new after a report of hive-egress. What fails is done after the next one."""
        try:
            await self.look()
        except HiveError as error:
            log.warning("what the way out reports is not recorded: %s", error.summary, extra={"limited": "network"})

    async def look(self) -> None:
        """Record what is new since the last look, of all agents."""
        names = list(self._names())
        pending = await self._requests.pending()
        for agent in names:
            await self._record_refused(agent)
            await self.record_ended(agent)
            await self._settle(agent, [each for each in pending if each.agent == agent])
        self._forget(frozenset(names))

    async def settle(self, agent: AgentName) -> list[int]:
        """Record the agent's grants that are in force, and answer its requests that are allowed by now.

        Return the ids of those.
        """
        return await self._settle(agent, await self._requests.pending(agent))

    async def record_ended(self, agent: AgentName) -> None:
        """Record the grants of the agent that have ended. Call it before they are removed from meta."""
        now = self._clock()
        for grant in self._grants(agent):
            if grant.until <= now and _id(agent, grant) not in self._ended:
                data = {"rule": grant.rule, "until": grant.until, "by": grant.by}
                key = keys.network_ended(agent, grant.rule, grant.at)
                await self._append("network_ended", agent, data, key=key)
                self._ended.add(_id(agent, grant))

    async def _settle(self, agent: AgentName, pending: list[NetworkRequest]) -> list[int]:
        policy = self._obeyed(agent)
        if policy is None:
            return []
        now, ceiling, answered = self._clock(), self._ceiling(), list[int]()
        open_ones = {each.id: each for each in pending if ceiling is None or covers(ceiling, each.host, each.port)}
        live = {(grant.rule.text, int(grant.until)) for grant in policy.grants}
        for grant in sorted(self._grants(agent), key=lambda each: -each.until):
            rule = parse_rule(grant.rule)
            if grant.until <= now or (rule.text, grant.until) not in live:
                continue
            ids = [each.id for each in open_ones.values() if rule.covers(each.host, each.port)]
            if ids or _id(agent, grant) not in self._allowed:
                answered += await self._requests.allowed(agent, grant, ids, f"until {moment(grant.until)}")
                self._allowed.add(_id(agent, grant))
            for id in ids:
                del open_ones[id]
        ids = [each.id for each in open_ones.values() if covers(policy.rules, each.host, each.port)]
        if ids:
            answered += await self._requests.covered(agent, ids, HIVE, "for good, by your agent.toml")
        return answered

    def _obeyed(self, agent: AgentName) -> AgentPolicy | None:
        policy = self._way_out.obeyed
        return None if policy is None else policy.agents.get(agent)

    async def _record_refused(self, agent: AgentName) -> None:
        report = self._way_out.report
        each = report.agents.get(agent) if report is not None else None
        refused = [refusal for refusal in each.refusals if refusal.may_be_asked] if each is not None else []
        before, recorded = {_first(refusal) for refusal in self._refused[agent]}, []
        for refusal in refused:
            if _first(refusal) not in before:
                if not self._allowance.left(agent):
                    continue  # later: an agent that wants ever other hosts makes no flood of events
                key = keys.network_refused(agent, refusal.host, refusal.port, int(refusal.first))
                data = {"host": refusal.host, "port": refusal.port}
                if await self._append("network_refused", agent, data, key=key) is not None:
                    self._allowance.note(agent, 1)
            recorded.append(refusal)
        self._refused[agent] = frozenset(recorded)

    def _forget(self, names: frozenset[AgentName]) -> None:
        """Drop what is remembered about agents and grants that do not exist any more."""
        for agent in self._refused.keys() - names:
            del self._refused[agent]
        there = {_id(agent, grant) for agent in names for grant in self._grants(agent)}
        self._allowed &= there
        self._ended &= there


def moment(at: float) -> str:
    """Return a Unix time as an agent and a person elsewhere understand it: `2026-11-30 18:40 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _id(agent: AgentName, grant: NetworkGrant) -> _Grant:
    return agent, grant.rule, grant.at


def _first(refusal: Refusal) -> tuple[str, int, float]:
    return refusal.host, refusal.port, refusal.first
