"""The reconcile loop: level-triggered, de-duplicated by agent, periodic.

"Level-triggered" means that nothing is decided from events: a hint only says which agent to look at, and a hint that
is lost costs at most the resync interval. One worker per agent looks, plans one step, does it, and looks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from meta.errors import HiveError, PermanentError, TransientError
from meta.git.message import scrub
from meta.model import Desired
from meta.names import AgentName
from reconciler.apply.apply import Apply
from reconciler.events.logins import Logins
from reconciler.events.transitions import Transitions
from reconciler.loop.queue import Queue
from reconciler.plan import plan as planning
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, Deploys, Observed
from reconciler.plan.plan import Plan
from reconciler.telemetry import activity
from reconciler.world import World

log = logging.getLogger(__name__)
MAX_STEPS = 100
"""Steps in one go before an agent has to queue again."""
MAX_RETRIES = 8
"""Transient failures in a row of one deploy before it is failed."""
REASON_LIMIT = 4000

_COUNTED = (steps.MakeCandidate, steps.Build, steps.Switch, steps.Start, steps.Commit)
_FORWARD_ONLY = (steps.Finish, steps.Drop, steps.Fail, steps.Project)


@dataclass(frozen=True, slots=True)
class Look:
    """All agents at one moment: what is desired, what is observed, their deploys, and the plan that follows."""

    desired: Desired
    observed: Observed
    deploys: Deploys
    plan: Plan


class Reconciler:
    """Plans and applies, agent by agent. One per daemon."""

    def __init__(self, world: World, apply: Apply) -> None:
        self._w = world
        self._apply = apply
        self.queue = Queue(
            self._work, base=world.config.retry_backoff, cap=world.config.retry_backoff_max, on_error=self._on_error
        )
        self.trouble: dict[AgentName, str] = {}
        self.passes = 0
        self.chronicle = Transitions(world.events, world.config, world.clock, world.clock())
        self.logins = Logins(world.memory, world.clock)
        self._doing: dict[AgentName, steps.Step] = {}
        self._last: dict[AgentName, str] = {}
        self._turned = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.more: Callable[[AgentName | None], bool] = lambda _: False
        """Whether something that was begun still concerns an agent (None: anybody), though its plan is empty."""

    # looking
    async def look(self) -> Look:
        """Look at all agents once and plan for them. Nothing is changed.

        A second look sees another moment: whoever shows several things of an agent takes them from one.
        """
        desired, observed, deploys = await self._w.observer.everything()
        self.passes += 1
        made = planning.plan(desired, observed, deploys, self._w.clock(), self._w.config)
        for agent, decision in made.decisions.items():
            self.chronicle.note(agent, decision.phase, _of(observed, agent))
        return Look(desired, observed, deploys, made)

    async def plan(self) -> Plan:
        """Return what would be done now for all agents."""
        return (await self.look()).plan

    async def decide(self, agent: AgentName) -> tuple[Decision, Observed]:
        """The next step of one agent."""
        desired, observed, deploys = await self._w.observer.one(agent)
        made = planning.plan(desired, observed, deploys, self._w.clock(), self._w.config, only=(agent,))
        self.chronicle.note(agent, made.decisions[agent].phase, _of(observed, agent))
        return made.decisions[agent], observed

    # acting
    def hint(self, agent: AgentName) -> None:
        """Something about `agent` may have changed."""
        self.queue.add(agent)

    def look_now(self, agent: AgentName) -> None:
        """A command concerns `agent`: do not wait for a back-off."""
        self.queue.add(agent, urgent=True)

    def interrupt(self, agent: AgentName) -> None:
        """Cut short a build or a drain that is not wanted any more; any other step is brief and runs out."""
        step = self._doing.get(agent)
        if step is not None and step.interruptible:
            self.queue.interrupt(agent)
        else:
            self.look_now(agent)

    async def sweep(self) -> Plan:
        """A resync: one pass, and work for every agent that needs it."""
        with self._w.metrics.sweep():
            look = await self.look()
        for agent, decision in look.plan.decisions.items():
            await self.chronicle.held(agent, decision, _of(look.observed, agent))
            if not isinstance(decision.step, steps.Nothing):
                self.hint(agent)
        return look.plan

    async def run(self) -> None:
        """Sweep now and then every `resync` seconds, until cancelled."""
        while True:
            try:
                await self.sweep()
            except HiveError as error:
                self.queue.errors += 1
                log.error("resync: %s", error.summary)
            except Exception:
                self.queue.errors += 1
                log.exception("resync failed; the next one is in %g s", self._w.config.resync)
            await asyncio.sleep(self._w.config.resync)

    async def reconcile(self, agent: AgentName) -> float | None:
        """Bring one agent as far as it gets now. Returns seconds until it wants to be looked at again, or None."""
        for _ in range(MAX_STEPS):
            decision, observed = await self.decide(agent)
            again = await self.logins.note(agent, _of(observed, agent))
            match decision.step:
                case steps.Nothing():
                    await self.chronicle.held(agent, decision, _of(observed, agent))
                    await self._rest(agent)
                    return again
                case steps.Wait(until=until):
                    await self._rest(agent)
                    left = max(0.0, until - self._w.clock())
                    return left if again is None else min(left, again)
                case step:
                    log.info("%s: %s, because %s", agent, step.name, decision.reason)
                    self._last[agent] = step.name
                    await self._do(agent, decision)
                    await self.chronicle.done(agent, decision, _of(observed, agent))
        raise TransientError(f"{agent} made {MAX_STEPS} steps without coming to rest")

    async def _work(self, agent: AgentName) -> float | None:
        """`reconcile`, and an error that is not yet known of is told."""
        try:
            self._w.metrics.reconciles.inc()
            with activity.reconciling(agent):
                return await self.reconcile(agent)
        except HiveError as error:
            if self.trouble.get(agent) != _spoken(error):
                await self.chronicle.stuck(agent, self._last.get(agent, "look"), error)
            raise

    async def settled(self, agent: AgentName | None, seconds: float) -> bool:
        """Wait until nothing is to be done for `agent` (or anybody); False when `seconds` passed first."""
        try:
            async with asyncio.timeout(seconds):
                while not await self._at_rest(agent):
                    self._turned.clear()
                    with _suppress_timeout():
                        async with asyncio.timeout(self._w.config.resync):
                            await self._turned.wait()
            return True
        except TimeoutError:
            return False

    def on_turn(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever a step ends, an agent comes to rest, or one runs into an error."""
        self._listeners.append(tell)

    def turn(self) -> None:
        """Let whoever waits for rest look again."""
        self._turned.set()
        for tell in self._listeners:
            tell()

    async def close(self) -> None:
        """Cancel and await all workers."""
        await self.queue.close()

    async def _at_rest(self, agent: AgentName | None) -> bool:
        if agent is not None:
            decision, _ = await self.decide(agent)
            return isinstance(decision.step, steps.Nothing) and agent not in self._doing and not self.more(agent)
        return (await self.plan()).empty and not self._doing and not self.more(None)

    async def _rest(self, agent: AgentName) -> None:
        self.trouble.pop(agent, None)
        await self._w.links.resume(agent)
        self.turn()

    async def _do(self, agent: AgentName, decision: Decision) -> None:
        step, deploy = decision.step, decision.deploy
        counted = deploy is not None and isinstance(step, _COUNTED)
        async with self._announced(agent, step):
            try:
                if counted and deploy is not None:
                    await self._w.memory.begin(agent, deploy, step.name)
                await self._apply(agent, step, await self._w.observer.refresh(agent))
            except PermanentError as error:
                await self._failed(agent, decision, error)
            except TransientError as error:
                if deploy is None or self.queue.failures(agent) < MAX_RETRIES or isinstance(step, _FORWARD_ONLY):
                    raise
                await self._failed(agent, decision, error)
            finally:
                if counted and deploy is not None:
                    await self._w.memory.end(agent, deploy, step.name)

    async def _failed(self, agent: AgentName, decision: Decision, error: HiveError) -> None:
        """An error that will not pass: of a deploy it is the outcome, of a repair it is trouble to be shown."""
        if decision.deploy is None or isinstance(decision.step, _FORWARD_ONLY):
            raise error
        touched = isinstance(decision.step, (steps.Switch, steps.Start, steps.Commit))
        reason = scrub(
            "\n".join(part for part in (error.summary, error.hint, _log_of(error)) if part), limit=REASON_LIMIT
        )
        log.warning("%s: %s of %s failed: %s", agent, decision.step.name, decision.deploy, error.summary)
        await self._apply(agent, steps.Fail(decision.deploy, reason, touched), await self._w.observer.refresh(agent))

    @asynccontextmanager
    async def _announced(self, agent: AgentName, step: steps.Step) -> AsyncIterator[None]:
        self._doing[agent] = step
        try:
            yield
        finally:
            self._doing.pop(agent, None)
            self.turn()

    def _on_error(self, agent: AgentName, error: HiveError | None) -> None:
        self._w.metrics.error(error)
        text = _spoken(error) if error else "see the log"
        if self.trouble.get(agent) != text:
            log.warning("%s: %s", agent, text)
        self.trouble[agent] = text
        self.turn()


def _of(observed: Observed, agent: AgentName) -> AgentObserved:
    return observed.agents.get(agent) or AgentObserved()


def _spoken(error: HiveError) -> str:
    return f"{error.summary} ({error.hint})" if error.hint else error.summary


def _log_of(error: HiveError) -> str:
    """The last lines of a build, where they say more than the summary does."""
    tail = getattr(error, "log", "")
    return tail if isinstance(tail, str) and tail.strip() != error.summary.strip() else ""


class _suppress_timeout:
    """Swallow the TimeoutError of the inner wait, not that of the outer one."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is TimeoutError
