"""Cards as they are shown: with what is not kept in the database but follows from the tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from typing_extensions import override

from meta.applied.source import Source
from meta.errors import HiveError
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId
from reconciler.loop.loop import Reconciler
from reconciler.messaging.broker import Broker
from reconciler.proposals.staleness import Stale
from reconciler.queries.reports import SHOWN, Reports
from reconciler.views import Card
from reconciler.world import World


def with_tags(card: Card, deploy: Deploy | None, stale: str | None = None) -> Card:
    """A card with what its tags say beside it."""
    branch = Source.parse(card.source or "").branch
    if deploy is None:
        return replace(card, branch=branch, stale=stale)
    decided = None if deploy.state is TagState.PROPOSAL else deploy.approved_by or deploy.by
    return replace(card, branch=branch, sha=deploy.sha, decided_by=decided, stale=stale)


class CardViews(Reports):
    """The views of cards."""

    def __init__(self, world: World, reconciler: Reconciler, broker: Broker) -> None:
        super().__init__(world, reconciler, broker)
        self.stale = Stale(world)

    @override
    async def pending(self) -> list[Card]:
        """Those that wait for the operator, oldest first, each with whether it is stale."""
        return await self._shown(await super().pending())

    @override
    async def cards(self, agent: AgentName | None = None, limit: int = 50) -> list[Card]:
        return await self._shown(await super().cards(agent, limit))

    @override
    async def card(self, id: ProposalId, agent: AgentName | None = None) -> Card:
        """One; of one that failed, too, whether it is stale."""
        (card,) = await self._shown([await super().card(id, agent)])
        if card.state != TagState.FAILED or card.kind is not DeployKind.APPLY_COMMIT:
            return card
        for deploy in await self._w.observer.refresh(card.agent):
            if deploy.id == id and await self._hopeless(deploy):
                return replace(card, stale=self.stale.hint(deploy))
        return card

    async def stale_of(self, agent: AgentName, ids: Iterable[ProposalId]) -> tuple[str, ...]:
        """In words, which of the pending `ids` of an agent are stale: one line, or none."""
        try:
            found = sorted(await self.stale.of(agent, await self._w.observer.refresh(agent)) & set(ids))
        except HiveError:
            return ()  # its repo is damaged, which other lines say
        if not found:
            return ()
        some = ", ".join(map(str, found[:SHOWN])) + (" and others" if len(found) > SHOWN else "")
        verb = "is" if len(found) == 1 else "are"
        return (f"{some} {verb} stale, made from an older commit: rebase (see `hive diff {found[0]}`), or deny",)

    async def _hopeless(self, deploy: Deploy) -> bool:
        main = await self._w.applied(deploy.agent).main()
        return main is not None and not await self.stale.descends(deploy.agent, main, deploy.sha)

    async def _shown(self, cards: list[Card]) -> list[Card]:
        told: dict[tuple[AgentName, ProposalId], tuple[Deploy, str | None]] = {}
        for agent in {card.agent for card in cards}:
            try:
                deploys = await self._w.observer.refresh(agent)
            except HiveError:
                continue  # a repo that is damaged keeps nobody from looking at the others
            stale = await self.stale.of(agent, deploys)
            for each in deploys:
                told[agent, each.id] = each, self.stale.hint(each) if each.id in stale else None
        return [with_tags(card, *told.get((card.agent, card.id), (None, None))) for card in cards]
