"""Commands about proposals, on a daemon that does nothing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from meta.errors import BadInput, Conflict, NotFound
from meta.model import Deploy, TagState
from meta.names import MANAGER, AgentName, ProposalId, Sha
from reconciler.daemon.daemon import Daemon
from reconciler.proposals.staleness import Stale
from reconciler.queries.cards import CardsQuery

ALICE, BOB = AgentName("alice"), AgentName("bob")


async def proposed(daemon: Daemon) -> ProposalId:
    """A pending proposal of alice's."""
    return (await daemon.service.settings.propose(ALICE, "test", 'label = "new"\n')).id


def looks_of_this_task(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, id: ProposalId) -> list[TagState]:
    """The states of `id` that the looks at the tags find from now on; those of the loop do not count."""
    seen: list[TagState] = []
    refresh, own = daemon.world.observer.refresh, asyncio.current_task()

    async def counted(agent: AgentName, **how: bool) -> tuple[Deploy, ...]:
        deploys = await refresh(agent, **how)
        if asyncio.current_task() is own:
            seen.extend(deploy.state for deploy in deploys if deploy.id == id)
        return deploys

    monkeypatch.setattr(daemon.world.observer, "refresh", counted)
    return seen


async def test_an_approval_looks_at_the_tags_once_before_it_writes_and_once_after(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await proposed(daemon)
    seen = looks_of_this_task(daemon, monkeypatch, id)
    card = await daemon.service.cards.of(await daemon.service.proposals.approve(id, "test"))
    assert (card.id, card.agent, card.status, card.decided_by) == (id, ALICE, "approved", "test")
    assert seen == [TagState.PROPOSAL, TagState.APPROVED]


async def test_a_denial_in_the_middle_of_an_approval_wins_and_is_named(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, check = await proposed(daemon), Stale.check

    async def denied_first(stale: Stale, deploy: Deploy, deploys: Iterable[Deploy]) -> None:
        await daemon.service.proposals.deny(id, "other", "no")
        await check(stale, deploy, deploys)

    monkeypatch.setattr(Stale, "check", denied_first)
    with pytest.raises(Conflict, match="denied"):
        await daemon.service.proposals.approve(id, "test")


async def test_a_decision_renders_no_card(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(*_: Any) -> Any:
        raise AssertionError("a card is rendered")

    id = await proposed(daemon)
    for method in ("get", "of", "pending", "list"):
        monkeypatch.setattr(CardsQuery, method, render)
    deploy = await daemon.service.proposals.deny(id, "test", "no")
    assert (deploy.state, deploy.reason) == (TagState.DENIED, "no")


async def test_an_id_0_needs_its_agent_as_soon_as_two_agents_have_one(daemon: Daemon) -> None:
    assert (await daemon.service.cards.get(ProposalId(0))).agent == ALICE
    await daemon.service.spawns.begin(BOB, "test")
    with pytest.raises(BadInput, match=r"each agent's first spawn has the id 0 \(alice, bob\)"):
        await daemon.service.cards.get(ProposalId(0))
    assert (await daemon.service.cards.get(ProposalId(0), BOB)).agent == BOB


@pytest.mark.parametrize(
    ("id", "agent", "words"),
    [
        (7, None, "there is no proposal 7 (see `hive pending` for the open ones)"),
        (7, ALICE, "alice has no proposal 7 (see `hive pending --all`)"),
        (0, MANAGER, "there is no agent manager (see `hive list`)"),
    ],
)
async def test_an_id_that_is_not_there_is_reported_with_where_to_look(
    daemon: Daemon, id: int, agent: AgentName | None, words: str
) -> None:
    service = daemon.service
    requests: list[Any] = [
        service.proposals.approve(ProposalId(id), "test", agent=agent),
        service.proposals.deny(ProposalId(id), "test", agent=agent),
        service.cards.get(ProposalId(id), agent),
        service.diffs.proposal(ProposalId(id), agent),
    ]
    for request in requests:
        with pytest.raises(NotFound) as caught:
            await request
        assert caught.value.describe() == words


async def test_the_settings_of_a_commit_have_its_module_beside_them(daemon: Daemon) -> None:
    id = await proposed(daemon)
    shown = await daemon.service.settings.text(ALICE, str(id))
    assert shown.text == 'label = "new"\n'
    assert shown.module == (await daemon.world.applied(ALICE).read(Sha(shown.sha), "agent.nix")).decode()
