"""Do one step of the plan: one `match` that calls the step's family.

Every step is idempotent: hive repeats it after a kill. Each of its effects lies between two failpoints.
"""

from __future__ import annotations

from meta.model import Deploy
from meta.names import AgentName, Sha
from reconciler.apply.builds import BuildSteps
from reconciler.apply.containers import ContainerSteps
from reconciler.apply.deploys import DeploySteps
from reconciler.apply.host import HostSteps
from reconciler.apply.last_lines import LastLines
from reconciler.apply.memos import MemoSteps
from reconciler.apply.removal import RemovalSteps
from reconciler.backends.base import Backend
from reconciler.builders.base import Builder
from reconciler.plan import steps
from reconciler.plan.deploy import find_deploy
from reconciler.telemetry import activity
from reconciler.world import World


class Apply:
    """Carries out steps. One per daemon."""

    def __init__(self, world: World, backend: Backend, builder: Builder) -> None:
        last_lines = LastLines(backend)
        self._metrics = world.metrics
        self._builds = BuildSteps(world, builder)
        self._containers = ContainerSteps(world, backend, builder)
        self._deploys = DeploySteps(world, backend, builder, last_lines)
        self._host = HostSteps(world, backend, builder)
        self._memos = MemoSteps(world, last_lines)
        self._removal = RemovalSteps(world, backend, builder)

    async def __call__(self, agent: AgentName, step: steps.Step, deploys: tuple[Deploy, ...]) -> None:
        """Do `step` for `agent`. Raise HiveError; the loop decides what that means for a deploy."""
        with self._metrics.step(agent, step), activity.stepping(step.name):
            await self._apply(agent, step, deploys)

    async def _apply(self, agent: AgentName, step: steps.Step, deploys: tuple[Deploy, ...]) -> None:
        match step:
            case steps.Nothing() | steps.Wait():
                return
            case steps.Project():
                await self._deploys.project(agent)
            case steps.Begin() | steps.MakeCandidate() | steps.Commit() | steps.Finish() | steps.Fail() | steps.Drop():
                await self._deploys(agent, step, find_deploy(deploys, agent, step.id))
            case steps.Preview() | steps.Build():
                await self._builds(agent, step, find_deploy(deploys, agent, step.id))
            case steps.Create() | steps.MakeDirectories() | steps.OpenSockets() | steps.Reapply():
                await self._host(agent, step)
            case steps.Drain() | steps.Stop() | steps.Switch() | steps.Start():
                await self._containers(agent, step)
            case steps.CountCrash() | steps.MarkHealthy() | steps.ForgetCrashes() | steps.GiveUpRollback():
                await self._memos(agent, step)
            case steps.Destroy() | steps.Purge():
                await self._removal(agent, step)
            case _:
                raise TypeError(f"apply does not know the step {step.name}")

    async def project(self, agent: AgentName) -> tuple[Deploy, ...]:
        """Make the cards of `agent` agree with its tags, and append the events. Return all deploys of the agent."""
        return await self._deploys.project(agent)

    async def complaint(self, agent: AgentName, sha: Sha) -> str | None:
        """Return why this commit cannot be built, judged by its own files alone; None if they show no reason."""
        return await self._builds.complaint(agent, sha)
