"""The pods of one process, put together: its own, and the sub-agents below it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from harness.enclosure import WORK
from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.link import Link
from harness.pod.open import OpenPod, Role, open_pod
from harness.pod.requests import write_first_run
from harness.pod.server import SOCKET
from harness.scope.bounds import EVERYTHING
from harness.scope.needs import scope_of
from harness.subagents.agents import Agents, Home
from harness.subagents.leases.registry import FILE_NAME, Registry
from harness.subagents.leases.store import LeaseStore
from meta.agent_toml.settings import AgentSettings
from meta.process.identity import identity
from meta.scope.rules import Rule, Scope
from meta.scope.words import summary
from meta.wire.link import PodInfo, PodReport, Pods, ShutdownRequest
from meta.wire.pod import PodEvent

LEASES = "hyperhive-pods.sqlite"
"""The table of the scopes of all pods of a container, in the folder of what the agent's own harness keeps."""
CHILDREN = "pods"
"""The folder of the sub-agents' folders, in what their parent keeps."""

_NOT_PASSED_ON = ("HYPERHIVE_EVENTS_DB", "HYPERHIVE_MODEL_FILE", "HIVE_PORT", "HIVE_EGRESS_PORT")


@dataclass(slots=True)
class Family:
    """What hive shows of the pods: the own one first."""

    tell: Callable[[Pods], None]
    own: PodInfo | None = None
    agents: Agents | None = None

    def take_own(self, info: PodInfo) -> None:
        """Take a change of the own pod."""
        self.own = info
        self.changed()

    def changed(self) -> None:
        """Tell hive, after a change of any."""
        below = () if self.agents is None else self.agents.infos()
        if self.own is not None:
            self.tell(Pods(pods=(self.own, *below)[:64]))


@dataclass(frozen=True, slots=True)
class Above:
    """What is above a process's own pod. `scope` None: it takes what was reserved for it."""

    name: str
    socket: str
    leases: Path
    scope: Scope | None
    shut_down: Callable[[], None]
    report: Callable[[PodEvent], None]
    tell: Callable[[Pods], None]


def hive_above(environment: Environment, settings: AgentSettings, link: Link) -> Above:
    """Return what is above the agent's own pod: hive."""
    scope = EVERYTHING if settings.scope is None else scope_of(settings.scope, environment.config)
    return Above(
        str(environment.agent),
        SOCKET,
        environment.kept / LEASES,
        scope,
        lambda: link.send(ShutdownRequest()),
        lambda event: link.send(PodReport(event=event.model_dump(mode="json"))),
        link.pods,
    )


@dataclass(frozen=True, slots=True)
class OwnPods:
    """The own pod while it is served, and its sub-agents if agent.toml allows any."""

    pod: OpenPod
    given: Scope | None
    """What the own pod was given; None: what was reserved for it."""
    agents: Agents | None = None
    most: int = 0
    """How many sub-agents may live at a time."""

    @property
    def tools(self) -> Agents | None:
        """Return what does what the tools for sub-agents ask for; None: the CLI gets none."""
        return self.agents if self.most else None

    def delegated(self) -> tuple[Rule, ...]:
        """Return what sub-agents may write now."""
        return () if self.agents is None else self.agents.delegated

    def scope(self) -> Scope | None:
        """Return what the CLI is kept to now; None: it may do what its user may."""
        scope = self.given
        if scope is None and self.agents is not None:
            scope = self.agents.scope
        return None if scope == EVERYTHING and not self.delegated() else scope


@contextlib.asynccontextmanager
async def open_pods(
    environment: Environment, settings: AgentSettings, gate: Gate, bus: Bus, store: EventStore, above: Above
) -> AsyncIterator[OwnPods]:
    """Serve the own pod in the block, and find the sub-agents of before a restart. Raise HiveError for a child."""
    family = Family(above.tell)
    role = Role(above.name, above.socket, above.shut_down, above.report, family.take_own)
    async with open_pod(environment, settings, gate, bus, store, role) as own:
        if above.scope not in (None, EVERYTHING):
            own.driven.scope = summary(above.scope)
        if settings.pods.max == 0 and above.scope is not None:
            yield OwnPods(own, above.scope)
            return
        agents = _agents(environment, settings, gate, own, above, family)
        family.agents = agents
        own.driven.take_event = agents.take_event
        try:
            await agents.begin(identity(os.getpid()), above.scope)
            if above.scope is None and agents.scope is not None:
                own.driven.scope = summary(agents.scope)
            yield OwnPods(own, above.scope, agents, settings.pods.max)
        finally:
            await agents.close()


def _agents(
    environment: Environment, settings: AgentSettings, gate: Gate, own: OpenPod, above: Above, family: Family
) -> Agents:
    def changed() -> None:
        family.changed()
        gate.poke()

    home = Home(
        name=above.name,
        socket=environment.pods / above.socket,
        folder=environment.kept / CHILDREN,
        work=environment.state / WORK,
        most=settings.pods.max,
        env={
            **{name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON},
            "HIVE_POD_LEASES": str(above.leases),
        },
        first_run=write_first_run,
    )
    registry = Registry(environment.kept / FILE_NAME)
    return Agents(home, LeaseStore(above.leases), registry, own.pod.take_news, changed, above.report)
