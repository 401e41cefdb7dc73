"""The ids of all agents, as their tags have them: look up an id, number a new one, move one, publish the change."""

from __future__ import annotations

from collections.abc import Iterable

from meta.approval import Binding
from meta.consent import Consent
from meta.errors import BadInput, Conflict, NotFound
from meta.model import AgentEntry, Deploy, Desired, TagState
from meta.names import AgentName, ProposalId, Sha, commit_id
from reconciler.apply.apply import Apply
from reconciler.loop.loop import Reconciler
from reconciler.plan.deploy import find_deploy
from reconciler.proposals.kept import is_kept, not_kept
from reconciler.world import World

NAMES_MOST = 5
"""Names in an error."""


class Deploys:
    """The operations that commands about ids share.

    A command looks once, writes a tag, and publishes; the loop does the work. Here and in the commands, `agent` is
    needed for the id 0 only, which each agent's first spawn has.
    """

    def __init__(self, world: World, apply: Apply, loop: Reconciler) -> None:
        self._world = world
        self._apply = apply
        self._loop = loop

    # looking
    async def desired(self) -> Desired:
        """Return meta as it is now."""
        return await self._world.observer.desired()

    async def entry(self, agent: AgentName) -> AgentEntry:
        """Return an agent's entry in meta. Raise NotFound."""
        entry = (await self.desired()).agents.get(agent)
        if entry is None:
            raise NotFound(f"there is no agent {agent}", "see `hive list`; `hive spawn` makes one")
        return entry

    async def of(self, agent: AgentName) -> tuple[Deploy, ...]:
        """Return all deploys of an agent, by id. Read every ref again. Raise Damaged if one cannot be read."""
        await self.desired()
        deploys = await self._world.observer.refresh(agent, again=True)
        self._world.observer.check(agent)
        return deploys

    async def main(self, agent: AgentName) -> Sha:
        """Return the newest deployed commit. Raise Conflict before the first."""
        main = await self._world.applied(agent).main()
        if main is None:
            raise Conflict(f"nothing of {agent} was deployed yet", f"see `hive plan {agent}`")
        return main

    async def owner(self, id: ProposalId, agent: AgentName | None = None) -> AgentName:
        """Return the agent that `id` belongs to. If `agent` is given, it is that one.

        Raise NotFound, or BadInput for an id 0 that several agents have.
        """
        if agent is not None:
            self._check_known(agent)
            return agent
        owners = await self._world.cards.owners(id)
        if id == 0 and len(owners) > 1:
            some = ", ".join(sorted(owners)[:NAMES_MOST]) + (", ..." if len(owners) > NAMES_MOST else "")
            raise BadInput(f"each agent's first spawn has the id 0 ({some})", "name the agent: `--agent NAME`")
        if not owners:
            remedy = "see `hive pending` for the open ones" if id else "see `hive pending --all`"
            raise NotFound(f"there is no proposal {id}", remedy)
        return owners[0]

    async def find(self, id: ProposalId, agent: AgentName | None = None) -> Deploy:
        """Return the deploy `id`. Raise NotFound, BadInput."""
        deploy, _ = await self.find_with_others(id, agent)
        return deploy

    async def find_with_others(
        self, id: ProposalId, agent: AgentName | None = None
    ) -> tuple[Deploy, tuple[Deploy, ...]]:
        """Return the deploy `id`, and all deploys of its agent from the same look. Raise NotFound, BadInput."""
        owner = await self.owner(id, agent)
        if agent is None:
            self._check_known(owner)
        deploys = await self.of(owner)
        return find_deploy(deploys, owner, id), deploys

    async def resolve(self, agent: AgentName, deploys: Iterable[Deploy], name: str) -> Sha:
        """Return the commit of an id of the agent, or of 7 to 40 digits. Raise NotFound."""
        if name.isascii() and name.isdigit():
            for deploy in deploys:
                if str(deploy.id) == name:
                    if not await is_kept(self._world.applied(agent), deploy):
                        raise not_kept(deploy)
                    return deploy.sha
            if len(name) < 7:
                raise NotFound(f"{agent} has no proposal {name}", f"see `hive history {agent}`")
        return await self._world.applied(agent).resolve(commit_id(name))

    def _check_known(self, agent: AgentName) -> None:
        if agent not in self._world.observer.names():
            raise NotFound(f"there is no agent {agent}", "see `hive list`")

    # writing
    async def take_id(self) -> ProposalId:
        """Take the next id of the hive."""
        return await self._world.meta.take_id(at_least=await self._world.cards.highest_id() + 1)

    async def move(
        self,
        deploy: Deploy,
        to: TagState,
        by: str,
        reason: str = "",
        shown: Binding | None = None,
        consent: Consent | None = None,
    ) -> None:
        """Write the tag of the state `to`. Raise Conflict if the states of a proposal do not allow that.

        `shown` is what an approval is bound to, `consent` how it was given.
        """
        applied, now = self._world.applied(deploy.agent), self._world.now()
        await applied.transition(deploy.id, to, by=by, reason=reason, at=now, shown=shown, consent=consent)

    async def project(self, agent: AgentName, id: ProposalId) -> Deploy:
        """Make the cards of `agent` agree with its tags. Return the deploy `id` as the tags have it now."""
        return find_deploy(await self._apply.project(agent), agent, id)

    async def publish(self, agent: AgentName, id: ProposalId) -> Deploy:
        """Do the same as `project`, then make the loop look at the agent."""
        deploy = await self.project(agent, id)
        self._loop.look_now(agent)
        return deploy
