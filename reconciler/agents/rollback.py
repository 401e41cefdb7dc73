"""A rollback: a new id that deploys the files of an older one again."""

from __future__ import annotations

from collections.abc import Sequence

from meta.applied.pinning import Pinning
from meta.applied.source import Source
from meta.consent import Consent, How
from meta.errors import Conflict, NotFound
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId
from reconciler.apply.effects import effect
from reconciler.plan.deploy import in_flight
from reconciler.plan.origin import origins
from reconciler.proposals.deploys import Deploys
from reconciler.world import World


class Rollback:
    """The command `rollback`."""

    def __init__(self, world: World, deploys: Deploys) -> None:
        self._world = world
        self._deploys = deploys

    async def __call__(self, agent: AgentName, by: str, to: ProposalId | None = None) -> Deploy:
        """Make a new id, approved at once, whose commit has the files of an older deployed id on top of `main`.

        `to` is the older id; None: see `rollback_target`. So `main` only moves forward, and what runs is what the next
        proposal is compared with and has to descend from.
        """
        pin = (await self._deploys.entry(agent)).pin
        proven = frozenset(self._world.memory.get(agent).proven)
        deploys = await self._deploys.of(agent)
        flying = in_flight(deploys)
        if flying is not None:
            text = f"{flying.id} is being deployed: cancel it, or wait"
            raise Conflict(text, f"`hive cancel {flying.id}` cancels it, `hive plan {agent}` shows how far it is")
        applied, now = self._world.applied(agent), self._world.now()
        target = rollback_target(deploys, pin.id, agent, to, proven, applied.older_ids())
        main = await self._deploys.main(agent)
        source, reason = Source(f"deployed/{target.id}"), f"rollback to deployed/{target.id}"
        with effect("tag-rollback"):
            sha = await applied.restore(main, target.sha, reason, now)
            id = await self._deploys.take_id()
            pinning = Pinning(DeployKind.ROLLBACK, sha, pin.sha, target.sha, source, by, reason)
            await applied.propose(id, pinning, now)
        with effect("approve-rollback"):
            await applied.transition(id, TagState.APPROVED, by=by, at=now, consent=Consent(How.COMMAND))
        return await self._deploys.publish(agent, id)


def rollback_target(
    deploys: Sequence[Deploy],
    current: ProposalId,
    agent: AgentName,
    to: ProposalId | None,
    proven: frozenset[ProposalId],
    foreign: frozenset[ProposalId] = frozenset(),
) -> Deploy:
    """Return the id to roll back to: `to` if given. It is never one of `foreign`, those of an older hive.

    Otherwise return the newest one that is older than what runs, of those that were healthy once, or if there is none,
    of all. After a rollback, what runs is as old as the target of that: a second rollback goes behind it.
    """
    if to in foreign:
        raise Conflict(
            f"deployed/{to} of {agent} is of an older hive, in a form that this one does not build",
            "propose its agent.nix again; deployed/0 is what that hive had deployed last",
        )
    done = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED and deploy.id not in foreign]
    origin = origins(deploys, current)
    here = origin.get(current, current)
    if to is not None:
        for deploy in done:
            if deploy.id == to:
                if origin[to] == here:
                    raise Conflict(f"{agent} runs the files of deployed/{to} already", "see `hive log`")
                return deploy
        raise NotFound(f"{agent} has no deployed/{to}", "see `hive log`")
    older = [deploy for deploy in done if deploy.id < here and origin[deploy.id] != here]
    if not older:
        raise NotFound(f"{agent} has nothing older to go back to", "see `hive log`")
    return next((deploy for deploy in reversed(older) if not deploy.unproven or deploy.id in proven), older[-1])
