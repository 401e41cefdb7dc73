"""A newer proposal from the same source supersedes an older one, unless an approval is faster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied.describe import describe
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.errors import Conflict
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.proposals.superseding import supersede, superseded

ALICE = AgentName("alice")
DEPLOY = Deploy(
    agent=ALICE,
    id=ProposalId(1),
    kind=DeployKind.APPLY_COMMIT,
    state=TagState.PROPOSAL,
    sha=Sha("a" * 40),
    base=None,
    commit_ref=Sha("a" * 40),
    source="proposed/push.git#main",
    description="",
    requested_at=0,
    proposed_by="push",
)


def test_of_pending_ones_from_one_branch_the_newest_stays() -> None:
    def one(id: int, source: str, state: TagState = TagState.PROPOSAL) -> Deploy:
        return replace(DEPLOY, id=ProposalId(id), source=source, state=state)

    deploys = [
        *(one(id, "proposed/push.git#main") for id in (1, 2, 5)),
        one(3, "proposed/push.git#other"),
        one(4, "proposed/push.git#main", TagState.APPROVED),
        one(6, "proposed/push.git#main", TagState.DENIED),
        one(7, "proposed/config"),
        one(8, "proposed/config"),
        one(9, "/clones/alice#1"),
        one(10, "/clones/alice#1"),
    ]
    assert superseded(deploys, {}) == {1: 5, 2: 5}


def test_a_commit_that_another_branch_still_proposes_stays() -> None:
    anna, ben = Source.parse("proposed/push.git#anna"), Source.parse("proposed/push.git#ben")
    old = replace(DEPLOY, source=str(anna))
    new = replace(DEPLOY, id=ProposalId(2), source=str(anna), sha=Sha("b" * 40))
    assert superseded([old, new], {anna: new.sha, ben: old.sha}) == {}
    assert superseded([old, new], {anna: old.sha, ben: new.sha}) == {1: 2}
    assert superseded([old, new], {anna: new.sha}) == {1: 2}


@pytest.fixture
async def applied(tmp_path: Path) -> Applied:
    made = Applied(Layout(tmp_path / "s", tmp_path / "r"), ALICE)
    await made.create({"agent.toml": b""}, at=1000)
    return made


async def pin(applied: Applied, id: int, source: str = "proposed/push.git#main") -> None:
    seed = await applied.seed()
    assert seed is not None
    pinning = Pinning(
        DeployKind.APPLY_COMMIT, seed, None, seed, Source.parse(source), by="push", description="first words"
    )
    await applied.propose(ProposalId(id), pinning, at=1000 + id)


async def test_of_an_approval_and_a_newer_proposal_exactly_one_wins(applied: Applied, tmp_path: Path) -> None:
    ends = set()
    for round in range(12):
        old, new = ProposalId(2 * round + 1), ProposalId(2 * round + 2)
        await pin(applied, old, f"proposed/push.git#{round}")
        await pin(applied, new, f"proposed/push.git#{round}")
        other = Applied(Layout(tmp_path / "s", tmp_path / "r"), ALICE)
        deploys, _ = await applied.deploys(), await other.deploys()
        racers = [
            supersede(applied, deploys, {}, by="push", at=1),
            other.transition(old, TagState.APPROVED, by="operator", at=1),
        ]
        answers = await asyncio.gather(*(racers if round % 2 else reversed(racers)), return_exceptions=True)
        state = next(deploy.state for deploy in await applied.deploys() if deploy.id == old)
        tags = {str(one) for one in TagState if applied.repo.ref(f"refs/tags/{one}/{old}") is not None}
        assert tags == {"proposal", str(state)}
        assert state in (TagState.APPROVED, TagState.DENIED)
        assert any(isinstance(answer, Conflict) for answer in answers) is (state is TagState.DENIED)
        assert ((old,) in answers) is (state is TagState.DENIED)
        ends.add(state)
    assert ends, "somebody won"


async def test_a_superseded_id_says_by_which(applied: Applied) -> None:
    await pin(applied, 1)
    await pin(applied, 2)
    assert await supersede(applied, await applied.deploys(), {}, by="push", at=5) == (1,)
    first, second = await applied.deploys()
    assert (first.state, first.reason) == (TagState.DENIED, "superseded by 2")
    assert second.state is TagState.PROPOSAL
    assert await supersede(applied, await applied.deploys(), {}, by="push", at=5) == ()


async def test_a_description_takes_the_place_of_the_commits_message_and_nothing_else_changes(applied: Applied) -> None:
    await pin(applied, 1)
    (before,) = await applied.deploys()
    assert await describe(applied, ProposalId(1), "what it is for\n\nHive-By: somebody else")
    (after,) = await applied.deploys()
    assert after == replace(before, description="what it is for\n\nHive-By: somebody else")
    assert not await describe(applied, ProposalId(1), "what it is for\n\nHive-By: somebody else")


async def test_a_decided_id_keeps_its_description(applied: Applied) -> None:
    await pin(applied, 1)
    await applied.transition(ProposalId(1), TagState.DENIED, by="operator", at=2)
    assert not await describe(applied, ProposalId(1), "another")
    assert (await applied.deploys())[0].description == "first words"
