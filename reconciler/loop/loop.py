"""The reconcile loop: level-triggered, de-duplicated by agent, periodic.

"Level-triggered" means that events decide nothing: a hint only names an agent to look at. A lost hint costs at most the
resync interval. One worker per agent looks, plans one step, does it, and looks again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from meta.errors import HiveError, PermanentError, TransientError
from meta.model import Desired
from meta.names import AgentName
from meta.text import scrub
from reconciler.apply.apply import Apply
from reconciler.common.rounds import Rounds
from reconciler.events.logins import Logins
from reconciler.events.transitions import Transitions
from reconciler.loop.last_seen import AgentSeen, Basis, LastSeen
from reconciler.loop.queue import Queue
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, Deploys, Observed
from reconciler.plan.plan import Plan, plan
from reconciler.telemetry import activity
from reconciler.world import World

log = logging.getLogger(__name__)
OVERDUE = 2.0
"""Resync intervals after which a glance does not wait any longer for a sweep that works."""
MAX_STEPS = 100
"""An agent queues again after this many steps."""
MAX_RETRIES = 8
"""Fail a deploy after this many transient errors in a row."""
REASON_LIMIT = 4000

_DEATHS_COUNTED = (steps.MakeCandidate, steps.Build, steps.Switch, steps.Start, steps.Commit)
_FORWARD_ONLY = (steps.Finish, steps.Drop, steps.Fail, steps.Project)


@dataclass(frozen=True, slots=True)
class Look:
    """All agents at one moment: desired, observed, their deploys, and the plan that follows.

    `fresh` are the agents that were looked at for it. The others are as they were seen last.
    """

    desired: Desired
    observed: Observed
    deploys: Deploys
    plan: Plan
    fresh: frozenset[AgentName]


class Reconciler:
    """Plans and applies, agent by agent. One per daemon. `rounds` are those of `run`.

    `still_busy` returns True while an agent (None: any agent) still has work, although its plan is empty.
    """

    def __init__(
        self,
        world: World,
        apply: Apply,
        rounds: Rounds,
        still_busy: Callable[[AgentName | None], bool] = lambda _: False,
    ) -> None:
        self._world = world
        self._apply = apply
        self._rounds = rounds
        self.queue = Queue(
            self._work, base=world.config.retry_backoff, cap=world.config.retry_backoff_max, on_error=self._on_error
        )
        self.trouble: dict[AgentName, str] = {}
        self.transitions = Transitions(world.events, world.config, world.clock, world.clock())
        self.logins = Logins(world.memory, world.clock)
        self._seen = LastSeen()
        self._looked_at = -math.inf
        self._current: dict[AgentName, steps.Step] = {}
        self._last_step: dict[AgentName, str] = {}
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._still_busy = still_busy

    # looking
    async def look(self, *, or_last: bool = False) -> Look:
        """Look at all agents once and plan for them. Only note in memory when a phase began.

        With `or_last` use the last valid meta if it is not valid now: to show, not to act.

        A second look would show another moment, so a view takes all its facts from one look.
        """
        observer, begun, at = self._world.observer, self._seen.begin(), time.monotonic()
        basis = await self._basis(or_last=or_last)
        observed, deploys = await observer.several(observer.names())
        planned = self._plan(basis, observed, deploys, begun)
        self._seen.keep_only(planned.decisions, begun)
        self._looked_at = at
        return Look(basis.meta.desired, observed, deploys, planned, frozenset(planned.decisions))

    async def glance(self, *, or_last: bool = True) -> Look:
        """Look only at the agents of which something changed since they were seen last. To show, not to act.

        It costs little where nothing changed. What changes without a hint, it does not see before a sweep does; while
        sweeps fail, it looks at all agents about as often as they would. `or_last` is that of `look`.
        """
        if time.monotonic() - self._looked_at > OVERDUE * self._world.config.resync:
            return await self.look(or_last=or_last)
        observer, begun = self._world.observer, self._seen.begin()
        basis = await self._basis(or_last=or_last)
        stale = self._seen.stale(basis, self._current)
        if stale:
            observed, deploys = await observer.several(stale)
            self._plan(basis, observed, deploys, begun, stale)
        seen = self._seen.all()
        since, ends = observer.since(), basis.goes_down
        return Look(
            basis.meta.desired,
            Observed({agent: each.observed for agent, each in seen.items()}, since, basis.revision, ends),
            {agent: each.deploys for agent, each in seen.items()},
            Plan({agent: each.decision for agent, each in seen.items()}),
            stale,
        )

    def _plan(
        self, basis: Basis, observed: Observed, deploys: Deploys, begun: int, only: Collection[AgentName] = ()
    ) -> Plan:
        """Plan for all agents or for `only`, note when their phases began, and keep what was seen."""
        planned = plan(basis.meta.desired, observed, deploys, self._world.clock(), self._world.config, only)
        for agent, decision in planned.decisions.items():
            of_agent = _of(observed, agent)
            self.transitions.note(agent, decision.phase, of_agent)
            self._seen.keep(agent, AgentSeen(of_agent, tuple(deploys.get(agent, ())), decision, basis, begun))
        return planned

    async def _basis(self, *, or_last: bool = False) -> Basis:
        """Read meta. What is decided on it is kept with it, whatever is read meanwhile."""
        observer = self._world.observer
        await observer.desired(or_last=or_last)
        return Basis(observer.view(), observer.revision, observer.goes_down)

    async def plan(self) -> Plan:
        """Return the plan of all agents, as of now."""
        return (await self.look()).plan

    async def decide(self, agent: AgentName) -> tuple[Decision, Observed]:
        """Return the next step of one agent, and the observation behind it."""
        begun = self._seen.begin()
        basis = await self._basis()
        observed, deploys = await self._world.observer.several([agent])
        return self._plan(basis, observed, deploys, begun, (agent,)).decisions[agent], observed

    async def reread(self, agent: AgentName | None) -> None:
        """Read the refs of `agent` (None: of every agent) again, because an operator asks for a look."""
        names = self._world.observer.names()
        for name in names if agent is None else names & {agent}:
            await self._world.observer.refresh(name, again=True)

    # acting
    def hint(self, agent: AgentName) -> None:
        """Queue `agent`: something about it may have changed."""
        self._seen.touch(agent)
        self.queue.add(agent)

    def look_now(self, agent: AgentName) -> None:
        """Queue `agent` without waiting for its back-off, because a command concerns it."""
        self._seen.touch(agent)
        self.queue.add(agent, urgent=True)

    def interrupt(self, agent: AgentName) -> None:
        """Cancel a build or a drain that is no longer wanted. Wait for any other step, because it is short."""
        step = self._current.get(agent)
        if step is not None and step.interruptible:
            self.queue.interrupt(agent)
        else:
            self.look_now(agent)

    async def sweep(self) -> Plan:
        """Look at all agents once, and queue each that has work."""
        with self._world.metrics.sweep():
            look = await self.look()
        for agent, decision in look.plan.decisions.items():
            await self.transitions.held(agent, decision, _of(look.observed, agent))
            if not isinstance(decision.step, steps.Nothing):
                self.hint(agent)
        self._changed.set()  # a glance may show other plans than before
        return look.plan

    async def run(self) -> None:
        """Sweep now and every `resync` seconds, until cancelled. An error is logged, and status shows it."""
        while True:
            try:
                await self.sweep()
            except HiveError as error:
                self._rounds.fail(error)
                log.error("resync: %s", error.summary)
            except Exception as error:
                self._rounds.fail(error)
                log.exception("resync failed; the next one is in %g s", self._world.config.resync)
            else:
                self._rounds.succeed()
            await asyncio.sleep(self._world.config.resync)

    async def reconcile(self, agent: AgentName) -> float | None:
        """Do steps for one agent until it has to wait. Return the seconds until the next look, or None."""
        for _ in range(MAX_STEPS):
            decision, observed = await self.decide(agent)
            self._world.links.send_hold(agent)
            again = await self.logins.note(agent, _of(observed, agent))
            match decision.step:
                case steps.Nothing():
                    await self.transitions.held(agent, decision, _of(observed, agent))
                    await self._finish_work(agent)
                    return self._sooner(again, decision.look_at)
                case steps.Wait(until=until):
                    await self._finish_work(agent)
                    return self._sooner(again, until)
                case step:
                    log.info("%s: %s, because %s", agent, step.name, decision.reason)
                    self._last_step[agent] = step.name
                    await self._do(agent, decision)
                    await self.transitions.done(agent, decision, _of(observed, agent))
        raise TransientError(f"{agent} did {MAX_STEPS} steps in a row and is not done yet")

    def _sooner(self, seconds: float | None, at: float | None) -> float | None:
        """Return the seconds until the first of two looks: in `seconds`, and at the Unix time `at`."""
        if at is None:
            return seconds
        left = max(0.0, at - self._world.clock())
        return left if seconds is None else min(left, seconds)

    async def _work(self, agent: AgentName) -> float | None:
        """Reconcile. Publish an error that differs from the last one."""
        try:
            self._world.metrics.reconciles.inc()
            with activity.reconciling(agent):
                return await self.reconcile(agent)
        except HiveError as error:
            if self.trouble.get(agent) != error.describe():
                await self.transitions.stuck(agent, self._last_step.get(agent, "look"), error)
            raise

    async def settled(self, agent: AgentName | None, seconds: float) -> bool:
        """Wait until `agent` (None: every agent) has no work. Return False if `seconds` passed first."""
        try:
            async with asyncio.timeout(seconds):
                while not await self._is_settled(agent):
                    self._changed.clear()
                    with suppress(TimeoutError):  # of the inner wait: the outer one ends by cancelling
                        async with asyncio.timeout(self._world.config.resync):
                            await self._changed.wait()
            return True
        except TimeoutError:
            return False

    def on_turn(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a step ends, an agent has no more work, or its worker fails."""
        self._listeners.append(listener)

    def working(self) -> dict[AgentName, str]:
        """Return the agents on which a step is done now, each with its name."""
        return {agent: step.name for agent, step in self._current.items()}

    def turn(self) -> None:
        """Wake `settled` and call the listeners."""
        self._changed.set()
        for listener in self._listeners:
            listener()

    async def close(self) -> None:
        """Cancel all workers and wait until they have ended."""
        await self.queue.close()

    async def _is_settled(self, agent: AgentName | None) -> bool:
        if agent is not None:
            decision, _ = await self.decide(agent)
            if not isinstance(decision.step, steps.Nothing):
                return False
            return agent not in self._current and not self._still_busy(agent)
        if self._current or self._still_busy(None) or not (await self.glance(or_last=False)).plan.empty:
            return False  # as most calls find while many agents have work; a look at all is dear
        return (await self.plan()).empty and not self._current and not self._still_busy(None)

    async def _finish_work(self, agent: AgentName) -> None:
        self.trouble.pop(agent, None)
        await self._world.drains.resume(agent)
        self.turn()

    async def _do(self, agent: AgentName, decision: Decision) -> None:
        step, deploy = decision.step, decision.deploy
        counted = deploy is not None and isinstance(step, _DEATHS_COUNTED)
        async with self._mark_current(agent, step):
            try:
                if counted and deploy is not None:
                    await self._world.memory.begin(agent, deploy, step.name)
                await self._apply(agent, step, await self._world.observer.refresh(agent))
            except PermanentError as error:
                await self._failed(agent, decision, error)
            except TransientError as error:
                if deploy is None or self.queue.failures(agent) < MAX_RETRIES or isinstance(step, _FORWARD_ONLY):
                    raise
                await self._failed(agent, decision, error)
            finally:
                if counted and deploy is not None:
                    await self._world.memory.end(agent, deploy, step.name)

    async def _failed(self, agent: AgentName, decision: Decision, error: HiveError) -> None:
        """Fail the deploy that met a lasting error. If there is no deploy, raise the error: status shows it."""
        if decision.deploy is None or isinstance(decision.step, _FORWARD_ONLY):
            raise error
        touched = isinstance(decision.step, (steps.Switch, steps.Start, steps.Commit))
        reason = scrub(
            "\n".join(part for part in (error.summary, error.hint, _build_log(error)) if part), limit=REASON_LIMIT
        )
        log.warning("%s: %s of %s failed: %s", agent, decision.step.name, decision.deploy, error.summary)
        await self._apply(
            agent, steps.Fail(decision.deploy, reason, touched), await self._world.observer.refresh(agent)
        )

    @asynccontextmanager
    async def _mark_current(self, agent: AgentName, step: steps.Step) -> AsyncIterator[None]:
        self._current[agent] = step
        try:
            yield
        finally:
            self._current.pop(agent, None)
            self._seen.touch(agent)
            self.turn()

    def _on_error(self, agent: AgentName, error: HiveError | None) -> None:
        self._world.metrics.error(error)
        text = error.describe() if error else "see the log"
        if self.trouble.get(agent) != text:
            log.warning("%s: %s", agent, text)
        self.trouble[agent] = text
        self.turn()


def _of(observed: Observed, agent: AgentName) -> AgentObserved:
    return observed.agents.get(agent) or AgentObserved()


def _build_log(error: HiveError) -> str:
    """Return the last lines of a failed build if they differ from the summary."""
    lines = getattr(error, "log", "")
    return lines if isinstance(lines, str) and lines.strip() != error.summary.strip() else ""
