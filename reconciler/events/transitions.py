"""Transitions that the loop observes: the beginning of each agent's phase, and the events that no step appends.

Phases are derived, never stored, so every look notes when one began, also that of `hive status`. That appends no event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from meta.config import Config
from meta.errors import DiskFull, HiveError
from meta.names import AgentName
from reconciler.events.feed import Events
from reconciler.plan import health, steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, Container, Transient
from reconciler.store.events import keys

log = logging.getLogger(__name__)

_UP = {"running", "starting"}
_DOWN = {"stopped", "failed", "crashed", "backing-off"}


class Transitions:
    """The transitions of all agents. `clock` gives Unix seconds, `daemon_since` is when the daemon began to observe."""

    def __init__(self, events: Events, config: Config, clock: Callable[[], float], daemon_since: float) -> None:
        self._events = events
        self._config = config
        self._clock = clock
        self._daemon_since = daemon_since
        self._phases: dict[AgentName, tuple[str, float]] = {}
        self._opened: set[AgentName] = set()
        self._held: dict[AgentName, frozenset[int]] = {}
        self._reported: dict[AgentName, str] = {}
        self._ends: dict[AgentName, str] = {}
        self._without: dict[AgentName, str] = {}

    # phases
    def note(self, agent: AgentName, phase: str, seen: AgentObserved) -> None:
        """Note the phase of an agent now. If it differs from the noted one, it begins now."""
        known = self._phases.get(agent)
        if known is None or (known[0] == "unknown" and phase != "unknown"):  # the daemon observes it for the first time
            self._phases[agent] = (phase, _began(phase, seen.container, self._clock()))
        elif known[0] != phase:
            self._phases[agent] = (phase, self._clock())

    def since(self, agent: AgentName) -> float:
        """Return the time, in Unix seconds, at which the noted phase began."""
        known = self._phases.get(agent)
        return known[1] if known is not None else self._clock()

    # events
    async def done(self, agent: AgentName, decision: Decision, seen: AgentObserved) -> None:
        """Append the events of a step that was done; `seen` is the observation behind the decision."""
        match decision.step:
            case steps.Start() as step:
                await self._started(agent, decision, step, seen)
            case steps.CountCrash(why=why) if seen.container.running:
                await self._unhealthy(agent, seen, why)
            case steps.GiveUpRollback(reason=reason):
                await self._unhealthy(agent, seen, reason)
            case steps.Fail(reason=reason) as step if self._failed_at_the_gate(step, seen):
                await self._unhealthy(agent, seen, reason)
            case steps.Destroy():
                self._opened.discard(agent)
            case (
                steps.Create() | steps.MakeDirectories() | steps.OpenSockets() | steps.Build() | steps.Switch() as step
            ):
                await self._repaired(agent, decision, step, seen)
            case _:
                pass

    async def stuck(self, agent: AgentName, step: str, error: HiveError) -> None:
        """Append that a step failed and is retried. An error of the store is only logged."""
        try:
            await self._events.append("reconcile_error", agent, {"step": step, "error": error.summary})
        except HiveError as second:
            log.warning("the failure of step %s for %s is not in the events: %s", step, agent, second.summary)

    async def held(self, agent: AgentName, decision: Decision, seen: AgentObserved) -> None:
        """Append what status shows about an agent that no step reports.

        It disagrees with meta: once per set of ids. It is outdated: once per revision. It was stopped: if a daemon died
        between the stop and its event. Its CLI does not start: once per start of the container. On a full disk the
        events wait.
        """
        try:
            await self._held_now(agent, decision, seen)
        except DiskFull as error:
            log.warning("%s: what is reported about it has no room: %s", agent, error.summary)

    async def _held_now(self, agent: AgentName, decision: Decision, seen: AgentObserved) -> None:
        await self._outdated(agent, decision)
        await self._stopped(agent, seen)
        await self._without_cli(agent, seen)
        ids = frozenset[int](seen.foreign) if decision.phase == "disagrees" else frozenset[int]()
        if self._held.get(agent, frozenset()) == ids:
            return
        if ids:
            key = keys.disagrees(agent, ids)
            await self._events.append("agent_disagrees", agent, {"ids": sorted(ids)}, key=key)
        self._held[agent] = ids

    async def _outdated(self, agent: AgentName, decision: Decision) -> None:
        outdated = decision.outdated
        if outdated is None or self._reported.get(agent) == outdated.now:
            return
        facts = {"built_with": outdated.built, "revision": outdated.now}
        await self._events.append("agent_needs_update", agent, facts, key=keys.needs_update(agent, outdated.now))
        self._reported[agent] = outdated.now

    async def _without_cli(self, agent: AgentName, seen: AgentObserved) -> None:
        """Append that the harness cannot start its CLI: once for each start of the container.

        The nonce is that of hive's record, because each process of the agent can say hello with another one.
        """
        link, launch = seen.link, seen.container.launch
        if not link.connected or launch is None or link.nonce != launch.nonce:
            return
        if link.about is None or not link.about.problem or self._without.get(agent) == launch.nonce:
            return
        facts = {"runtime": link.about.runtime, "problem": link.about.problem}
        await self._events.append("agent_cli_missing", agent, facts, key=keys.cli_missing(agent, launch.nonce))
        self._without[agent] = launch.nonce

    async def _stopped(self, agent: AgentName, seen: AgentObserved) -> None:
        nonce = seen.memo.expected_exit
        over = not seen.container.running and seen.memo.transient == Transient.STOPPING
        if not over or nonce is None or self._ends.get(agent) == nonce:
            return
        key = keys.stopped(agent, nonce, Transient.STOPPING)
        await self._events.append("agent_stopped", agent, {"transient": Transient.STOPPING}, key=key)
        self._ends[agent] = nonce

    async def _started(self, agent: AgentName, decision: Decision, step: steps.Start, seen: AgentObserved) -> None:
        before = seen.container.launch
        if decision.deploy is None and before is not None and step.restarts > before.restarts:
            await self._events.append("agent_restarted", agent, {"generation": step.generation.id})

    def _failed_at_the_gate(self, step: steps.Fail, seen: AgentObserved) -> bool:
        launch = seen.container.launch
        if not step.touched or launch is None or launch.deploy != step.id:
            return False
        now = self._clock()
        verdict = health.judge(seen.container, seen.link, now=now, daemon_since=self._daemon_since, config=self._config)
        return isinstance(verdict, health.Unhealthy)

    async def _unhealthy(self, agent: AgentName, seen: AgentObserved, reason: str) -> None:
        launch = seen.container.launch
        key = keys.unhealthy(agent, launch.nonce) if launch is not None else None
        await self._events.append("agent_unhealthy", agent, {"reason": reason}, key=key)

    async def _repaired(self, agent: AgentName, decision: Decision, step: steps.Step, seen: AgentObserved) -> None:
        first = isinstance(step, steps.OpenSockets) and agent not in self._opened  # each daemon has to open them
        if isinstance(step, steps.OpenSockets):
            self._opened.add(agent)
        if decision.deploy is None and not first and not _intended(step, seen):
            await self._events.append("repaired", agent, {"what": decision.reason, "step": step.name})


def _intended(step: steps.Step, seen: AgentObserved) -> bool:
    """Return True if a change of meta or a rollback causes this step, False if a loss or a change by hand does."""
    match step:
        case steps.Build(id=id):
            return id in seen.built
        case steps.Switch():
            return seen.memo.rollback_from is not None or seen.memo.transient == Transient.SWITCHING
        case _:
            return False


def _began(phase: str, container: Container, now: float) -> float:
    """Return the time at which a phase began that a new daemon observes; `now` if that is unknown."""
    if phase in _UP and container.launch is not None:
        return min(container.launch.at, now)
    if phase in _DOWN and container.exit is not None:
        return min(container.exit.at, now)
    return now
