"""Cards: the projection of tags, and the events that go out with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.events.feed import Events
from reconciler.store.cards import Cards
from reconciler.store.database import Database

ALICE, BOB = AgentName("alice"), AgentName("bob")
NOW = 5000.5


def deploy(id: int, state: TagState = TagState.PROPOSAL, agent: AgentName = ALICE) -> Deploy:
    return Deploy(
        agent=agent,
        id=ProposalId(id),
        kind=DeployKind.APPLY_COMMIT,
        state=state,
        sha=Sha("a" * 40),
        base=None,
        commit_ref="aaaaaaa",
        source="main",
        description="more memory",
        requested_at=1000 + id,
        proposed_by="manager",
        resolved_at=2000 if state is not TagState.PROPOSAL else None,
        approved_by="operator" if state not in (TagState.PROPOSAL, TagState.DENIED) else None,
        by="operator",
    )


@pytest.fixture
def cards(db: Database) -> Cards:
    return Cards(db, clock=lambda: NOW)


async def kinds(db: Database) -> list[str]:
    return [event.kind for event in await Events(db).since(None)]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TagState.PROPOSAL, "pending"),
        (TagState.APPROVED, "approved"),
        (TagState.BUILDING, "approved"),
        (TagState.DEPLOYED, "approved"),
        (TagState.FAILED, "failed"),
        (TagState.DENIED, "denied"),
    ],
)
async def test_a_card_has_the_status_that_the_wire_calls_for(cards: Cards, state: TagState, status: str) -> None:
    await cards.project(ALICE, [replace(deploy(7, state), reason="because")], "s1")
    card = await cards.get(ALICE, ProposalId(7))
    assert card is not None
    assert (card.status, card.state, card.note) == (status, state.value, "because")
    assert card.resolved_at == (None if status == "pending" else 2000)
    assert (card.commit_ref, card.fetched_sha, card.requested_at) == ("aaaaaaa", "a" * 40, 1007)
    assert (card.description, card.proposed_by, card.source) == ("more memory", "manager", "main")


async def test_a_spawn_has_no_commit_ref_and_no_fetched_sha(cards: Cards) -> None:
    await cards.project(ALICE, [replace(deploy(1), kind=DeployKind.SPAWN)], "s1")
    card = await cards.get(ALICE, ProposalId(1))
    assert card is not None
    assert (card.commit_ref, card.fetched_sha) == ("", None)


async def test_a_decision_without_a_time_gets_the_one_at_which_it_was_seen_and_keeps_it(db: Database) -> None:
    decided = replace(deploy(1, TagState.APPROVED), resolved_at=None)
    await Cards(db, clock=lambda: 3000.0).project(ALICE, [decided], "s1")
    later = Cards(db, clock=lambda: 4000.0)
    await later.project(ALICE, [replace(decided, state=TagState.BUILDING)], "s2")
    card = await later.get(ALICE, ProposalId(1))
    assert card is not None
    assert card.resolved_at == 3000


async def test_a_deploy_is_told_step_by_step_and_each_step_once(db: Database, cards: Cards) -> None:
    for state in (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING, TagState.DEPLOYED):
        for _ in range(2):
            await cards.project(ALICE, [deploy(1, state)], state.value)
    assert await kinds(db) == ["proposal_created", "proposal_approved", "deploy_started", "deploy_succeeded"]


async def test_states_that_were_passed_over_are_told_too(db: Database, cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1)], "s1")
    await cards.project(ALICE, [deploy(1, TagState.DEPLOYED)], "s2")
    await cards.project(ALICE, [deploy(1, TagState.DEPLOYED), deploy(2, TagState.APPROVED)], "s3")
    assert await kinds(db) == [
        "proposal_created",
        "proposal_approved",
        "deploy_started",
        "deploy_succeeded",
        "proposal_created",
        "proposal_approved",
    ]


async def test_an_id_that_is_over_when_first_seen_tells_only_its_end_and_says_that_it_is_late(
    db: Database, cards: Cards
) -> None:
    await cards.project(ALICE, [replace(deploy(1, TagState.FAILED), reason="no such key")], "s1")
    [event] = await Events(db).since(None)
    assert event.kind == "deploy_failed"
    assert event.data["late"] is True
    assert event.data["note"] == "no such key"


async def test_the_seed_has_a_card_and_no_event_while_a_spawn_tells_that_there_is_a_new_agent(
    db: Database, cards: Cards
) -> None:
    seed = replace(deploy(0, TagState.DEPLOYED), kind=DeployKind.SPAWN, approved_by=None)
    spawn = replace(deploy(1, TagState.DEPLOYED), kind=DeployKind.SPAWN)
    await cards.project(ALICE, [replace(spawn, state=TagState.BUILDING)], "s1")
    await cards.project(ALICE, [seed, spawn], "s2")
    assert (await kinds(db))[-2:] == ["deploy_succeeded", "agent_spawned"]
    assert len(await cards.list(ALICE)) == 2
    assert await cards.get(ALICE, ProposalId(0)) is not None


async def test_the_first_spawn_of_an_agent_is_told_like_any_other_although_its_id_is_0(
    db: Database, cards: Cards
) -> None:
    spawn = replace(deploy(0, TagState.BUILDING), kind=DeployKind.SPAWN)
    await cards.project(ALICE, [spawn], "s1")
    await cards.project(ALICE, [replace(spawn, state=TagState.DEPLOYED)], "s2")
    assert (await kinds(db))[-2:] == ["deploy_succeeded", "agent_spawned"]


async def test_who_denied_is_told_with_the_denial(db: Database, cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1)], "s1")
    await cards.project(ALICE, [replace(deploy(1, TagState.DENIED), by="operator uid 1000", reason="no")], "s2")
    denied = (await Events(db).since(None))[-1]
    assert (denied.kind, denied.data["by"], denied.data["note"]) == ("proposal_denied", "operator uid 1000", "no")


async def test_a_card_that_says_approved_without_the_tag_is_pending_again_and_says_so(
    db: Database, cards: Cards
) -> None:
    await cards.project(ALICE, [deploy(1, TagState.APPROVED)], "s1")
    [change] = await cards.project(ALICE, [deploy(1)], "s2")
    assert change.reverted
    card = await cards.get(ALICE, ProposalId(1))
    assert card is not None
    assert (card.status, card.resolved_at) == ("pending", None)
    assert [card.id for card in await cards.pending()] == [1]
    reverted = (await Events(db).since(None))[-1]
    assert (reverted.kind, reverted.data) == ("card_reverted", {"id": 1, "from": "approved", "to": "proposal"})


async def test_what_was_reverted_is_told_again_when_it_happens_again(db: Database, cards: Cards) -> None:
    for round in range(2):
        await cards.project(ALICE, [deploy(1, TagState.APPROVED)], f"{round}a")
        await cards.project(ALICE, [deploy(1)], f"{round}b")
    assert await kinds(db) == [
        "proposal_created",
        "proposal_approved",
        "card_reverted",
        "proposal_approved",
        "card_reverted",
    ]


async def test_a_card_whose_tags_are_gone_is_removed_and_says_so(db: Database, cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1), deploy(2)], "s1")
    [change] = await cards.project(ALICE, [deploy(2)], "s2")
    assert (change.new, change.reverted) == (None, True)
    assert await cards.get(ALICE, ProposalId(1)) is None
    assert (await kinds(db))[-1] == "card_reverted"


async def test_a_contradicting_end_is_told_as_reverted_and_then_as_it_is(db: Database, cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1)], "s1")
    await cards.project(ALICE, [deploy(1, TagState.DENIED)], "s2")
    await cards.project(ALICE, [deploy(1, TagState.FAILED)], "s3")
    assert (await kinds(db))[-2:] == ["card_reverted", "deploy_failed"]


async def test_changes_are_returned_and_an_equal_projection_has_none(cards: Cards) -> None:
    changes = await cards.project(ALICE, [deploy(2), deploy(1)], "s1")
    assert [(change.old, change.new.id if change.new else None) for change in changes] == [(None, 1), (None, 2)]
    assert await cards.project(ALICE, [deploy(1), deploy(2)], "s1") == []
    [change] = await cards.project(ALICE, [deploy(1), deploy(2, TagState.DENIED)], "s2")
    assert change.old is not None
    assert (change.old.status, change.reverted) == ("pending", False)


async def test_stamps_survive_and_belong_to_each_agent(db: Database, cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1)], "old")
    await cards.project(ALICE, [deploy(1)], "new")
    await cards.project(BOB, [], "bobs")
    assert await Cards(db).stamps() == {ALICE: "new", BOB: "bobs"}


async def test_lists_are_newest_first_and_pending_oldest_first(cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1), deploy(4, TagState.DENIED), deploy(5)], "s1")
    await cards.project(BOB, [deploy(3, agent=BOB)], "s1")
    assert [card.id for card in await cards.list()] == [5, 4, 3, 1]
    assert [card.id for card in await cards.list(limit=2)] == [5, 4]
    assert [card.id for card in await cards.list(ALICE)] == [5, 4, 1]
    assert [card.id for card in await cards.pending()] == [1, 3, 5]
    assert await cards.highest_id() == 5


async def test_of_several_cards_with_the_id_zero_the_one_of_the_named_agent_is_returned(cards: Cards) -> None:
    await cards.project(ALICE, [deploy(0)], "s1")
    await cards.project(BOB, [deploy(0, agent=BOB)], "s1")
    for agent in (ALICE, BOB):
        card = await cards.get(agent, ProposalId(0))
        assert card is not None
        assert card.agent == agent


async def test_the_card_of_another_agent_is_not_found(cards: Cards) -> None:
    await cards.project(ALICE, [deploy(3)], "s1")
    assert await cards.get(BOB, ProposalId(3)) is None


async def test_the_owners_of_an_id_are_listed_by_name(cards: Cards) -> None:
    await cards.project(BOB, [deploy(0, agent=BOB), deploy(3, agent=BOB)], "s1")
    await cards.project(ALICE, [deploy(0)], "s1")
    assert await cards.owners(ProposalId(0)) == [ALICE, BOB]
    assert await cards.owners(ProposalId(3)) == [BOB]
    assert await cards.owners(ProposalId(4)) == []


async def test_forgetting_an_agent_leaves_the_others_and_frees_its_ids(db: Database, cards: Cards) -> None:
    neighbour = AgentName("alice-2")
    await cards.project(ALICE, [deploy(1)], "s1")
    await cards.project(neighbour, [deploy(2, agent=neighbour)], "s1")
    await cards.forget(ALICE)
    assert [card.agent for card in await cards.list()] == [neighbour]
    assert await cards.stamps() == {neighbour: "s1"}
    await cards.project(ALICE, [deploy(1)], "s2")
    assert (await kinds(db)).count("proposal_created") == 3


async def test_without_any_card_the_highest_id_is_zero(cards: Cards) -> None:
    assert await cards.highest_id() == 0


async def test_each_agent_owns_an_id_0_and_any_other_id_has_one_owner(cards: Cards) -> None:
    await cards.project(ALICE, [deploy(0), deploy(1)], "s1")
    await cards.project(BOB, [replace(deploy(0), agent=BOB, requested_at=2)], "s1")
    assert sorted(await cards.owners(ProposalId(0))) == [ALICE, BOB]
    assert await cards.owners(ProposalId(1)) == [ALICE]
    assert await cards.owners(ProposalId(2)) == []
