"""A range of uids that files on disk belong to stays with its name, whatever meta knows about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.model import Pin, Role
from meta.names import AgentName, ProposalId, Sha

ALICE, BOB, CAROL = AgentName("alice"), AgentName("bob"), AgentName("carol")
ONE, TWO = ProposalId(1), ProposalId(2)
SHA = Sha("1" * 40)
START = int(Config.model_validate({}).uid_start)
STEP = 65_536


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """path -> the uid that it seems to belong to (a test need not be root to tell)."""
    found: dict[Path, int] = {}
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        seen = real(path)
        if path not in found:
            return seen
        return os.stat_result((*seen[:4], found[path], *seen[5:]))

    monkeypatch.setattr(Path, "lstat", lstat)
    return found


async def _allot(meta: MetaRepo, agent: AgentName, id: ProposalId) -> int:
    await meta.candidate(agent, id, None, pin=Pin(id, SHA), role=Role.AGENT, by="hive", at=1)
    uid = (await meta.read()).candidates[agent][id].entry.settings.uid_base
    await meta.drop_candidate(agent, id)
    return uid


async def test_the_uids_of_a_failed_spawn_stay_with_its_name(
    meta: MetaRepo, layout: Layout, owners: dict[Path, int]
) -> None:
    failed = await _allot(meta, ALICE, ONE)
    for own in (layout.agent_state(ALICE), layout.agent_home(ALICE)):
        own.mkdir(parents=True)
        owners[own] = failed
    other = await _allot(meta, BOB, TWO)
    assert other == failed + STEP
    assert await _allot(meta, ALICE, TWO) == failed


async def test_a_purge_of_a_failed_spawn_hands_its_uids_to_nobody_before_its_files_are_gone(
    meta: MetaRepo, layout: Layout, owners: dict[Path, int]
) -> None:
    failed = await _allot(meta, ALICE, ONE)
    layout.agent_state(ALICE).mkdir(parents=True)
    owners[layout.agent_state(ALICE)] = failed
    await meta.remove_agent(ALICE, purge=True, by="ann", at=1)
    assert (await meta.read()).desired.tombstones[ALICE].uid_base == failed
    assert await _allot(meta, BOB, TWO) == failed + STEP


async def test_files_of_an_agent_that_meta_does_not_know_keep_their_uids(
    meta: MetaRepo, layout: Layout, owners: dict[Path, int]
) -> None:
    layout.agent_home(CAROL).mkdir(parents=True)
    owners[layout.agent_home(CAROL)] = START + 5 * STEP + 17  # given away inside its range
    assert await _allot(meta, BOB, ONE) == START + 6 * STEP
    assert await _allot(meta, CAROL, TWO) == START + 5 * STEP


async def test_files_below_the_first_range_do_not_count(
    meta: MetaRepo, layout: Layout, owners: dict[Path, int]
) -> None:
    layout.agent_state(CAROL).mkdir(parents=True)
    owners[layout.agent_state(CAROL)] = 1000
    assert await _allot(meta, CAROL, ONE) == START


async def test_files_from_before_the_start_was_raised_keep_their_uids(
    meta: MetaRepo, layout: Layout, owners: dict[Path, int]
) -> None:
    raised = MetaRepo(layout, config=Config.model_validate({"uid_start": START + 100 * STEP}))
    own = layout.agent_state(ALICE)
    own.mkdir(parents=True)
    owners[own] = START + 3 * STEP
    assert await _allot(raised, ALICE, ONE) == START + 3 * STEP
    assert await _allot(raised, BOB, TWO) == START + 100 * STEP
