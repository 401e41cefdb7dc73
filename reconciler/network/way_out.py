"""The daemon's side of the way out: the policy that hive-egress obeys is the one of now.

By level: every PERIOD seconds, after each `wake`, and after each change that hive-egress reports, the policy of now is
compared with the one that hive-egress obeys, and pushed if it is another. So a daemon that was away, a hive-egress that
was replaced, and a push that failed need no rule of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from meta.errors import HiveError
from meta.names import AgentName
from meta.network.policy import Policy
from meta.network.report import ConnectionRecord, Report
from reconciler.common.tasks import run_together
from reconciler.network.client import EgressClient
from reconciler.network.policies import Policies
from reconciler.observe.commits import RunningCommits
from reconciler.plan.observed import Launch

log = logging.getLogger(__name__)

PERIOD = 3.0
"""Seconds between two looks, at most."""
PAUSE = 0.1
"""Seconds between two looks, at least."""
CHANGES = 0.5
"""Seconds between a look and one because hive-egress reports a change, at least."""
AWAY = 1.0
"""Seconds until the next look if hive-egress does not answer."""
OFTEN = 3
"""Ends of hive-egress within an hour that are a note in the status."""
LAUNCH_SECONDS = 3.0
"""Seconds that the start of an agent waits for its policy to be obeyed."""

OnReport = Callable[[Report], Awaitable[None]]
"""Called with each report, one at a time. It must not raise HiveError: what fails is done with the next report."""


class Process(Protocol):
    """The hive-egress that the daemon starts (reconciler.network.process)."""

    @property
    def starts(self) -> int:
        """How often this daemon started it."""

    @property
    def ends(self) -> int:
        """How often it ended by itself within the last hour."""

    async def end(self) -> None:
        """End it. Raise TransientError if it does not end."""

    async def revive(self, client: EgressClient) -> Report:
        """Start it unless it runs, and return its first report. Raise TransientError."""

    async def adopt(self, client: EgressClient, report: Report) -> Report:
        """Return the report, or that of a new process if the one that runs must be replaced. Raise TransientError."""


class WayOut:
    """The way out of all agents. `process` is None if hive-egress is not the daemon's to start."""

    def __init__(
        self,
        client: EgressClient,
        policies: Policies,
        running: RunningCommits,
        process: Process | None = None,
    ) -> None:
        self._client = client
        self._policies = policies
        self._running = running
        self._process = process
        self._report: Report | None = None
        self._problem = ""
        self._listeners: list[OnReport] = []
        self._looking = asyncio.Lock()
        self._woken = asyncio.Event()
        self._changed = False
        """hive-egress reported a change since the last look began to wait."""
        self._rests = False
        """A change that hive-egress reports is looked at now."""

    @property
    def report(self) -> Report | None:
        """The last report of hive-egress; None before the first one."""
        return self._report

    @property
    def problem(self) -> str:
        """Why there is no way out now, with the remedy; "" if there is one."""
        return self._problem

    @property
    def starts(self) -> int:
        """How often this daemon started hive-egress."""
        return self._process.starts if self._process is not None else 0

    @property
    def policy(self) -> Policy:
        """The policy that was pushed last, or is to be."""
        return self._policies.policy

    @property
    def obeyed(self) -> Policy | None:
        """The policy that hive-egress obeys; None if that is not the one of now, or nothing is known."""
        is_of_now = self._report is not None and self._report.policy == self._policies.revision
        return self._policies.policy if is_of_now else None

    def listen(self, listener: OnReport) -> None:
        """Await `listener` with each report from now on, in `run`."""
        self._listeners.append(listener)

    async def notify(self) -> None:
        """Await each listener with the last report."""
        if self._report is not None:
            for listener in self._listeners:
                await listener(self._report)

    def wake(self) -> None:
        """Look soon: something changed that the policy is made of."""
        self._woken.set()

    async def push(self) -> None:
        """Push the policy of now unless it is obeyed. Return once it is.

        Raise TransientError if hive-egress does not answer, PermanentError if it refuses.
        """
        await self._look()
        self.wake()  # the listeners

    async def before_launch(self, agent: AgentName, launch: Launch) -> None:
        """Push the rules of the commit that an agent starts with. Without hive-egress it starts all the same."""
        self._running.begin(agent, launch)
        try:
            async with asyncio.timeout(LAUNCH_SECONDS):
                await self.push()
        except (HiveError, TimeoutError):
            log.debug("%s starts before hive-egress has its policy", agent)  # `problem` has the reason

    async def forget(self, agent: AgentName) -> None:
        """Drop an agent that was destroyed, from hive-egress too."""
        self._running.forget(agent)
        self.wake()

    async def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        """Return the agent's connections with greater numbers than `after`, and those that go on.

        Raise TransientError if hive-egress does not answer.
        """
        return await self._client.connections(agent, after)

    def notes(self) -> tuple[str, ...]:
        """Return what is wrong with the way out of all agents, one line each."""
        if self._problem:
            return (f"the way out: {self._problem}; agents wait for it, and go on by themselves",)
        operator, report = self._policies.operator_problem, self._report
        own = (f"the way out: {operator}",) if operator else ()
        if report is None:
            return own
        keys = (f"the key {name} of the way out: {problem}" for name, problem in report.routes.items() if problem)
        if self._process is not None and (often := self._process.ends) >= OFTEN:
            own = (*own, f"hive-egress ended {often} times within an hour, and was started again: see its log")
        others = (f"hive-egress: {problem}" for problem in report.problems if not operator or problem not in operator)
        return (*own, *keys, *others)

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return what is wrong with the agent's way out, one line each."""
        each = self._report.agents.get(agent) if self._report is not None else None
        missed = each is not None and each.problem and self._running.runs(agent)  # its directory is made by the start
        problem = (f"it has no way out: {each.problem}",) if each is not None and missed else ()
        return (*self._policies.problems(agent), *problem)

    async def end(self) -> None:
        """End the hive-egress that is the daemon's, because the whole hive goes down. Call it after `run` has ended."""
        if self._process is not None:
            await self._process.end()

    async def run(self) -> None:
        """Follow until cancelled."""
        await run_together({"policy": self._follow(), "changes": self._watch()})

    async def _follow(self) -> None:
        while True:
            self._woken.clear()
            pause = PERIOD
            try:
                await self._look()
                await self.notify()
            except HiveError:
                pause = AWAY if self._missed else PERIOD
            await asyncio.sleep(PAUSE)
            self._rests = not await self._wakes_within(CHANGES - PAUSE)  # while much is carried, changes never end
            if self._rests and not self._changed:
                await self._wakes_within(pause - CHANGES)
            self._rests = self._changed = False

    async def _wakes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._woken.wait()
        except TimeoutError:
            return False

    async def _watch(self) -> None:
        """Wake with each change that hive-egress reports, and at its end."""
        while True:
            try:
                async for _ in self._client.watch():
                    self._changed = True
                    if self._rests:
                        self.wake()
            except HiveError:
                if self._missed:
                    self.wake()
            await asyncio.sleep(AWAY if self._missed else PERIOD)

    @property
    def _missed(self) -> bool:
        """True if hive-egress is missed while it does not answer."""
        return self._process is not None or self._policies.needed

    async def _look(self) -> Report:
        async with self._looking:
            try:
                policy = await self._policies.read()
                report = await self._ask()
                if report.policy != self._policies.revision:
                    await self._client.set_policy(policy)
                    report = await self._client.report()
            except HiveError as error:
                self._fail(error)
                raise
            self._problem, self._report = "", report
            return report

    async def _ask(self) -> Report:
        try:
            report = await self._client.report()
        except HiveError:
            if self._process is None:
                raise
            return await self._process.revive(self._client)
        return report if self._process is None else await self._process.adopt(self._client, report)

    def _fail(self, error: HiveError) -> None:
        if self._missed:
            if self._problem != error.describe():
                log.warning("the way out: %s", error.describe())
            self._problem = error.describe()
