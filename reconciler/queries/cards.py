"""Cards as they are shown: with the facts that are not stored but follow from the tags."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace

from meta.agent_toml.settings import SETTINGS_FILE
from meta.applied.source import Source
from meta.errors import HiveError, NotFound
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId
from meta.proposed.settings import read_settings
from reconciler.plan.deploy import find_deploy
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.staleness import Stale
from reconciler.views import Card
from reconciler.world import World


class CardsQuery:
    """The views of cards."""

    def __init__(self, world: World, deploys: Deploys, stale: Stale) -> None:
        self._world = world
        self._deploys = deploys
        self._stale = stale

    async def pending(self) -> list[Card]:
        """Return the cards that wait for the operator, oldest first."""
        return await self._shown(await self._world.cards.pending())

    async def list(self, agent: AgentName | None = None, limit: int = 50) -> builtins.list[Card]:
        """Return cards, newest first."""
        return await self._shown(await self._world.cards.list(agent, limit))

    async def get(self, id: ProposalId, agent: AgentName | None = None) -> Card:
        """Return one card. `agent` is needed for the id 0 only. Raise NotFound, BadInput."""
        card = await self._stored(await self._deploys.owner(id, agent), id)
        try:
            deploy = find_deploy(await self._world.observer.refresh(card.agent), card.agent, id)
        except HiveError:
            return with_tags(card, None)  # the tag or the whole repo is lost, which `hive status` reports
        return await self._with(card, deploy)

    async def of(self, deploy: Deploy) -> Card:
        """Return the card of a deploy that a command returned."""
        return await self._with(await self._stored(deploy.agent, deploy.id), deploy)

    async def _stored(self, agent: AgentName, id: ProposalId) -> Card:
        card = await self._world.cards.get(agent, id)
        if card is None:
            raise NotFound(f"{agent} has no proposal {id}", "see `hive pending --all`")
        return card

    async def _with(self, card: Card, deploy: Deploy) -> Card:
        """Return one card with the facts from its tags. For one that failed, add whether it is stale."""
        stale = await self._is_stale(deploy)
        return await self._with_facts(card, deploy, self._stale.hint(deploy) if stale else None)

    async def _runtime(self, deploy: Deploy) -> str | None:
        """Return the runtime of a spawn that has not ended; None for all else, and if it cannot be read."""
        if deploy.kind is not DeployKind.SPAWN or deploy.state.terminal:
            return None
        try:
            text = await self._world.applied(deploy.agent).read(deploy.sha, SETTINGS_FILE)
            return (await read_settings(text)).runtime
        except HiveError:
            return None

    async def _is_stale(self, deploy: Deploy) -> bool:
        if deploy.state not in (TagState.PROPOSAL, TagState.FAILED) or deploy.kind is not DeployKind.APPLY_COMMIT:
            return False
        try:
            main = await self._world.applied(deploy.agent).main()
            if main is None or deploy.base == main:  # it descended from its base when it was fetched
                return False
            return not await self._stale.descends(deploy.agent, main, deploy.sha)
        except HiveError:
            return False

    async def _shown(self, cards: Sequence[Card]) -> builtins.list[Card]:
        known: dict[tuple[AgentName, ProposalId], tuple[Deploy, str | None]] = {}
        for agent in {card.agent for card in cards}:
            try:
                deploys = await self._world.observer.refresh(agent)
            except HiveError:
                continue  # one damaged repo does not hide the cards of the other agents
            stale = await self._stale.of(agent, deploys)
            for deploy in deploys:
                known[agent, deploy.id] = deploy, self._stale.hint(deploy) if deploy.id in stale else None
        return [await self._with_facts(card, *known.get((card.agent, card.id), (None, None))) for card in cards]

    async def _with_facts(self, card: Card, deploy: Deploy | None, stale: str | None) -> Card:
        """Return a card with the facts from its tags, and the operator's model as the agent's harness reports it."""
        about = self._world.links.view(card.agent).about
        return replace(
            with_tags(card, deploy, stale),
            runtime=await self._runtime(deploy) if deploy else None,
            model_override=(about.override or None) if about is not None else None,
        )


def with_tags(card: Card, deploy: Deploy | None, stale: str | None = None) -> Card:
    """Return a card with the facts from its tags."""
    branch = Source.parse(card.source or "").branch
    if deploy is None:
        return replace(card, branch=branch, stale=stale)
    decided = None if deploy.state is TagState.PROPOSAL else deploy.approved_by or deploy.by
    return replace(
        card,
        branch=branch,
        sha=deploy.sha,
        decided_by=decided,
        stale=stale,
        rebased_from=deploy.rebased_from,
        consent=deploy.consent,
    )
