"""The machine of tags: nothing leaves its table, and of racers one wins."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.applied.states import PATHS, TRANSITIONS, advance, begin, furthest, parse, tag_name, tag_ref
from meta.errors import Conflict, HiveError, TransientError
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

SEVEN = ProposalId(7)
states = st.sampled_from(TagState)
numbers = itertools.count(1)


def test_every_open_state_has_a_way_on_and_no_ended_one_has() -> None:
    for state in TagState:
        assert state.terminal == (not TRANSITIONS[state])
        assert state.terminal != (state in PATHS)


@given(st.lists(states, max_size=12))
def test_a_sequence_of_transitions_never_leaves_the_table(wanted: list[TagState]) -> None:
    tags = {TagState.PROPOSAL: Sha("1" * 40)}
    for to in wanted:
        before = furthest(tags.keys())
        changes = advance(SEVEN, tags, to, Sha("2" * 40))
        assert (changes is not None) == (to in TRANSITIONS[before])
        if changes is not None:
            tags[to] = Sha("2" * 40)
            assert furthest(tags.keys()) is to
            assert set(tags) - {to} == set(PATHS[before])


@pytest.mark.parametrize("state", list(PATHS))
def test_a_transition_checks_the_old_tag_and_every_tag_off_the_path(state: TagState) -> None:
    tags = dict.fromkeys(PATHS[state], Sha("1" * 40))
    for to in TRANSITIONS[state]:
        changes = advance(SEVEN, tags, to, Sha("2" * 40)) or []
        named = {change.ref: change for change in changes}
        assert named[tag_ref(state, SEVEN)].old == "1" * 40
        absent = {ref for ref, change in named.items() if change.old == "0" * 40}
        assert absent == {tag_ref(other, SEVEN) for other in TagState if other not in PATHS[state]}
        assert [change.ref for change in changes if change.new] == [tag_ref(to, SEVEN)]


def test_a_proposal_begins_only_where_its_id_has_no_tag() -> None:
    changes = begin(SEVEN, Sha("1" * 40))
    assert {change.ref for change in changes} == {tag_ref(state, SEVEN) for state in TagState}
    assert {change.old for change in changes} == {"0" * 40}


@given(states, st.integers(0, 10**18 - 1))
def test_names_of_tags_are_read_back(state: TagState, number: int) -> None:
    id = ProposalId(number)
    assert parse(tag_name(state, id)) == parse(tag_ref(state, id)) == (state, id)


@pytest.mark.parametrize(
    "name", ["approved", "approved/", "approved/07", "approved/x", "done/7", "approved/7/8", "v1.0"]
)
def test_other_tags_are_none_of_hives(name: str) -> None:
    assert parse(name) is None


# on real git
async def _proposed(layout: Layout, number: int) -> tuple[Applied, ProposalId]:
    applied = Applied(layout, AgentName("alice"))
    sha = await applied.create({"agent.nix": b"{ }\n"}, at=1)
    id = ProposalId(number)
    pinning = Pinning(DeployKind.APPLY_COMMIT, sha, None, commit_ref=sha, source=Source.parse("test"), by="manager")
    await applied.propose(id, pinning, at=2)
    return applied, id


async def _try(applied: Applied, id: ProposalId, to: TagState) -> bool:
    try:
        if to is TagState.DEPLOYED:
            await applied.deployed(id, by="hive", at=3, meta_commit=Sha("2" * 40), unproven=False, seed=False)
        else:
            await applied.transition(id, to, by="operator", at=3)
    except (Conflict, TransientError):
        return False
    return True


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.lists(states, min_size=1, max_size=4), min_size=1, max_size=5))
async def test_racers_in_random_orders_have_one_winner_each(layout: Layout, steps: list[list[TagState]]) -> None:
    applied, id = await _proposed(layout, next(numbers))
    before = {TagState.PROPOSAL}
    for racers in steps:
        separate = [Applied(layout, AgentName("alice")) for _ in racers]
        won = await asyncio.gather(*(_try(one, id, to) for one, to in zip(separate, racers, strict=True)))
        refs = applied.repo.refs([f"refs/tags/{one}" for one in TagState])
        present = {one for one in TagState if tag_ref(one, id) in refs}
        now = furthest(present)
        assert len({one for one in present if one.terminal}) == int(now.terminal)
        assert now.terminal or present == set(PATHS[now])
        # each new tag has one winner; `deployed` may be repeated, it completes what was cut
        winners = sorted(to for to, did in zip(racers, won, strict=True) if did)
        assert [to for to in winners if to is not TagState.DEPLOYED] == sorted(present - before - {TagState.DEPLOYED})
        before = present


@pytest.mark.parametrize("pair", [(TagState.APPROVED, TagState.DENIED), (TagState.DENIED, TagState.DENIED)])
async def test_of_two_who_decide_at_once_one_wins_and_the_other_is_told(
    layout: Layout, pair: tuple[TagState, TagState]
) -> None:
    applied, _ = await _proposed(layout, 1)
    seed = await applied.seed()
    assert seed is not None
    for number in range(2, 8):
        id = ProposalId(number)
        await applied.propose(
            id, Pinning(DeployKind.APPLY_COMMIT, seed, None, commit_ref="", source=Source.parse(""), by="m"), at=1
        )
        results = await asyncio.gather(
            *(Applied(layout, AgentName("alice")).transition(id, to, by="x", at=2) for to in pair),
            return_exceptions=True,
        )
        lost = [result for result in results if result is not None]
        assert len(lost) == 1
        assert isinstance(lost[0], HiveError)
        (deploy,) = [deploy for deploy in await applied.deploys() if deploy.id == id]
        assert deploy.state in pair


async def test_git_itself_would_let_both_win(layout: Layout, git: Callable[..., str]) -> None:
    """Why the rivals are verified: this is the transaction without it."""
    applied, id = await _proposed(layout, 7)
    tag = applied.repo.ref(tag_ref(TagState.PROPOSAL, id))
    for rival in ("approved", "denied"):
        lines = f"verify refs/tags/proposal/7 {tag}\ncreate refs/tags/{rival}/7 {tag}\n"
        git(applied.repo.path, "update-ref", "--stdin", stdin=lines)
    assert (await applied.deploys())[0].state is TagState.DENIED
