"""A way out without hive-egress: the real policies, and a report that a test writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from meta.errors import TransientError
from meta.network.control import VERSION
from meta.network.policy import Policy
from meta.network.report import AgentReport, ConnectionRecord, Refusal, Report
from meta.network.verdict import Verdict
from reconciler.network.policies import Policies, Sources

if TYPE_CHECKING:
    from meta.names import AgentName
    from reconciler.daemon.daemon import Daemon


class FakeWayOut:
    """Obeys what is pushed, unless it is `away`. `log` has each push, and what a test adds."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._obeyed = ""
        self.agents: dict[str, AgentReport] = {}
        self.records: list[ConnectionRecord] = []
        self.away = False
        self.problem = ""
        self.log: list[str] = []
        self.before_push: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, daemon: Daemon, clock: Callable[[], float] = time.time) -> FakeWayOut:
        """Return one with the policies of a daemon."""
        meta = daemon.world.meta
        sources = Sources(
            refresh=meta.read,
            names=daemon.service.names,
            settings=daemon.service.network.settings.of,
            grants=lambda agent: meta.known().run_of(agent).grants,
            held=lambda _: "",
            operator=daemon.world.network,
            clock=clock,
        )
        return cls(Policies(sources))

    @property
    def policy(self) -> Policy:
        return self._policies.policy

    @property
    def obeyed(self) -> Policy | None:
        return self._policies.policy if self._obeyed == self._policies.revision else None

    @property
    def report(self) -> Report | None:
        return Report(VERSION, "rev", 1, 1.0, self._obeyed, dict(self.agents))

    async def push(self) -> None:
        self.before_push()
        policy = await self._policies.read()
        if self.away:
            raise TransientError("hive-egress does not answer within 5 s", "see its log")
        self._obeyed = policy.revision
        self.log.append("live")

    async def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        if self.away:
            raise TransientError("hive-egress does not answer within 5 s", "see its log")
        return [record for record in self.records if record.number > after or record.open]

    def refuse(self, agent: str, *wanted: tuple[str, int, int], first: float = 5.0) -> None:
        """Report what an agent wanted: host, port, and how often."""
        refusals = tuple(
            Refusal(host, port, Verdict.NOT_LISTED, count, first, first + count) for host, port, count in wanted
        )
        self.agents[agent] = AgentReport(refusals=refusals)
