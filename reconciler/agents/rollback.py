"""A rollback: a new id that deploys an older commit again."""

from __future__ import annotations

from collections.abc import Sequence

from meta.applied.pinning import Pinning
from meta.applied.source import Source
from meta.errors import Conflict, NotFound
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.apply.effects import effect
from reconciler.proposals.deploys import Deploys
from reconciler.world import World


class Rollback:
    """The command `rollback`."""

    def __init__(self, world: World, deploys: Deploys) -> None:
        self._world = world
        self._deploys = deploys

    async def __call__(self, agent: AgentName, by: str, to: ProposalId | None = None) -> Deploy:
        """Make a new id with an older deployed commit, approved at once.

        `to` is the id of that commit. Without it the previous deploy is used.
        """
        current = (await self._deploys.entry(agent)).pin.sha
        proven = frozenset(self._world.memory.get(agent).proven)
        target = rollback_target(await self._deploys.of(agent), current, agent, to, proven)
        applied, now = self._world.applied(agent), self._world.now()
        id = await self._deploys.take_id()
        source = Source(f"deployed/{target.id}")
        pinning = Pinning(DeployKind.ROLLBACK, target.sha, current, target.sha, source, by, f"rollback to {source}")
        with effect("tag-rollback"):
            await applied.propose(id, pinning, now)
        with effect("approve-rollback"):
            await applied.transition(id, TagState.APPROVED, by=by, at=now)
        return await self._deploys.publish(agent, id)


def rollback_target(
    deploys: Sequence[Deploy], current: Sha, agent: AgentName, to: ProposalId | None, proven: frozenset[ProposalId]
) -> Deploy:
    """Return the id to roll back to: `to` if given.

    Otherwise return the newest older deploy that was healthy once, or if there is none, the newest older one.
    """
    done = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED]
    if to is not None:
        for deploy in done:
            if deploy.id == to:
                if deploy.sha == current:
                    raise Conflict(f"{agent} runs the commit of deployed/{to} already", "see `hive log`")
                return deploy
        raise NotFound(f"{agent} has no deployed/{to}", "see `hive log`")
    older = [deploy for deploy in done if deploy.sha != current]
    if not older:
        raise NotFound(f"{agent} has nothing older to go back to", "see `hive log`")
    return next((deploy for deploy in reversed(older) if not deploy.unproven or deploy.id in proven), older[-1])
