"""What meta says of an agent beside its deploys: uids, tombstones, adoption, run state, ids."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.errors import Conflict, NotFound
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.model import (
    Deploy,
    DeployKind,
    Pin,
    RunEntry,
    RunState,
    TagState,
    Tombstone,
)
from meta.names import AgentName, ProposalId, Sha
from tests.meta.deploys import ALICE, BOB, GENERATION, ONE, TWO, make_candidate, make_deploy, sha_of


# uids
async def test_each_spawn_has_its_own_uids_even_while_others_are_only_candidates(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    names = [AgentName(f"b{number}") for number in range(4)]
    made = [await make_candidate(meta, name, ProposalId(10 + number), sha_of(5)) for number, name in enumerate(names)]
    uids = [one.entry.settings.uid_base for one in made]
    start = Config.model_validate({}).uid_start
    assert uids == [start + 65_536 * number for number in range(1, 5)]


async def test_two_agents_with_the_same_uids_are_refused(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    entry = (await meta.read()).desired.agents[ALICE]
    with pytest.raises(Conflict, match="bob and alice would both have the uids"):
        await meta.commit_agent(
            BOB, TWO, entry, kind=DeployKind.SPAWN, generation=GENERATION, by="x", at=1, sha=sha_of(1)
        )


# destroy and respawn
async def test_a_destroyed_agent_leaves_a_tombstone_and_a_respawn_goes_on_with_it(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    entry = (await meta.read()).desired.agents[ALICE]
    await meta.set_run(ALICE, lambda run: replace(run, state=RunState.STOPPED, restarts=2), by="ann", at=1)
    await meta.remove_agent(ALICE, purge=False, by="ann", at=4000)
    desired = (await meta.read()).desired
    assert desired.agents == {}
    assert desired.tombstones == {ALICE: Tombstone(entry.settings.uid_base, entry.pin)}
    assert desired.run_of(ALICE) == RunEntry(RunState.RUNNING, restarts=2)
    await make_deploy(meta, BOB, TWO)
    await make_deploy(meta, ALICE, ProposalId(3), DeployKind.SPAWN)
    desired = (await meta.read()).desired
    assert desired.tombstones == {}
    assert desired.agents[ALICE].settings.uid_base == entry.settings.uid_base
    assert desired.agents[BOB].settings.uid_base != entry.settings.uid_base


async def test_destroying_twice_is_one_commit_and_purge_can_follow(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    done = await meta.remove_agent(ALICE, purge=False, by="x", at=1)
    assert await meta.remove_agent(ALICE, purge=False, by="x", at=1) == done
    await meta.remove_agent(ALICE, purge=True, by="x", at=1)
    assert (await meta.read()).desired.tombstones[ALICE].purge
    await meta.remove_agent(ALICE, purge=False, by="x", at=1)
    assert (await meta.read()).desired.tombstones[ALICE].purge


async def test_a_purged_name_begins_again_with_id_0(meta: MetaRepo) -> None:
    first = await make_deploy(meta, ALICE, ProposalId(0), DeployKind.SPAWN)
    await meta.remove_agent(ALICE, purge=True, by="x", at=1)
    forgotten = await meta.forget_tombstone(ALICE, by="x", at=1)
    assert await meta.forget_tombstone(ALICE, by="x", at=1) == forgotten
    view = await meta.read()
    assert (view.desired.tombstones, view.committed) == ({}, {})
    again = await make_deploy(meta, ALICE, ProposalId(0), DeployKind.SPAWN)
    assert again != first
    assert (await meta.read()).committed == {ALICE: {0: again}}


async def test_purging_a_spawn_that_never_ended_leaves_a_tombstone_for_its_directories(meta: MetaRepo) -> None:
    head = (await meta.read()).desired.head
    assert await meta.remove_agent(ALICE, purge=False, by="x", at=1) == head
    await meta.remove_agent(ALICE, purge=True, by="x", at=1)
    assert (await meta.read()).desired.tombstones[ALICE].purge


# adopt
async def test_adopting_what_runs_moves_the_pin(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    deploy = Deploy(
        ALICE, ProposalId(5), DeployKind.APPLY_COMMIT, TagState.DEPLOYED, sha_of(9), None, "", "", "", 1, "x"
    )
    await meta.adopt(ALICE, deploy, disown=frozenset({ProposalId(5)}), by="ann", at=1)
    view = await meta.read()
    assert view.desired.agents[ALICE].pin == Pin(ProposalId(5), sha_of(9))
    assert view.desired.agents[ALICE].disowned == {5}
    assert view.committed[ALICE][ProposalId(5)] == view.desired.head


async def test_adopting_meta_gives_up_the_foreign_ids(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    await meta.adopt(ALICE, None, disown=frozenset({ProposalId(5)}), by="ann", at=1)
    await meta.adopt(ALICE, None, disown=frozenset({ProposalId(6)}), by="ann", at=1)
    entry = (await meta.read()).desired.agents[ALICE]
    assert entry.pin.id == 1
    assert entry.disowned == frozenset({ProposalId(5), ProposalId(6)})
    with pytest.raises(NotFound, match="meta does not know bob"):
        await meta.adopt(BOB, None, disown=frozenset({ONE}), by="ann", at=1)


# run.json and ids
async def test_run_states_change_one_by_one_and_none_is_lost(layout: Layout, meta: MetaRepo) -> None:
    writers = [meta, MetaRepo(layout)]

    def more(run: RunEntry) -> RunEntry:
        return replace(run, restarts=run.restarts + 1)

    await asyncio.gather(*(writers[n % 2].set_run(ALICE, more, by="x", at=1) for n in range(6)))
    assert (await meta.read()).desired.run == {ALICE: RunEntry(restarts=6)}


async def test_a_run_state_that_is_so_already_makes_no_commit(meta: MetaRepo) -> None:
    await meta.set_run(ALICE, lambda run: replace(run, state=RunState.STOPPED), by="x", at=1)
    before = meta.repo.ref("refs/heads/run")
    assert (await meta.set_run(ALICE, lambda run: run, by="x", at=2)).state is RunState.STOPPED
    assert meta.repo.ref("refs/heads/run") == before


async def test_ids_are_taken_once_by_everybody(layout: Layout, meta: MetaRepo) -> None:
    others = [meta, MetaRepo(layout), MetaRepo(layout)]
    taken = await asyncio.gather(*(others[n % 3].take_id() for n in range(6)))
    assert sorted(taken) == [1, 2, 3, 4, 5, 6]


async def test_an_id_is_never_below_a_tag_a_trailer_or_the_counter(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ProposalId(40))
    assert await meta.take_id() == 41
    assert await meta.take_id(at_least=90) == 90
    assert await meta.take_id(at_least=5) == 91
    await meta.repo.transaction([RefChange("refs/hive/counter", new=Sha("0" * 40))])
    assert await meta.take_id(at_least=92) == 92
