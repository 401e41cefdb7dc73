"""The packs of ended ids become one: nothing is lost, not by a kill either, and ids that wait keep their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from meta.applied import merged_packs
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.git import packs
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

ALICE = AgentName("alice")


@pytest.fixture
async def applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Applied:
    """A repo with three failed ids and one that waits, each with a pack of its own."""
    monkeypatch.setattr(merged_packs, "MOST_PACKS", 2)
    made = Applied(Layout(tmp_path / "s", tmp_path / "r"), ALICE)
    base = await made.create({"agent.toml": b""}, at=1000)
    for number in range(1, 5):
        await propose(made, number, base)
        if number < 4:
            await made.transition(ProposalId(number), TagState.APPROVED, by="operator", at=1)
            await made.transition(ProposalId(number), TagState.FAILED, by="hive", at=1)
    return made


async def propose(applied: Applied, number: int, base: Sha) -> Sha:
    sha, staged = await applied.edit(base, "agent.toml", f"n = {number}\n".encode(), "change", 1000 + number)
    pinning = Pinning(DeployKind.APPLY_COMMIT, sha, base, sha, Source.parse("edit#agent.toml"), by="operator")
    await applied.propose(ProposalId(number), pinning, at=1, staged=staged)
    return sha


def check(applied: Applied) -> None:
    done = subprocess.run(
        ["git", f"--git-dir={applied.repo.path}", "fsck", "--full", "--strict", "--no-dangling"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_ended_ids_share_one_pack_and_what_waits_keeps_its_own(applied: Applied) -> None:
    assert await applied.merge_packs() == 3
    assert packs.ids(applied.repo.path) == {4}
    assert len(packs.merged(applied.repo.path)) == 1
    check(applied)
    assert await applied.merge_packs() == 0
    await applied.transition(ProposalId(4), TagState.DENIED, by="operator", at=1)
    assert packs.ids(applied.repo.path) == frozenset()
    check(applied)


async def test_while_the_repo_is_read_the_old_packs_stay_and_go_the_next_time(applied: Applied) -> None:
    with applied.reading():
        assert await applied.merge_packs() == 0
        assert packs.ids(applied.repo.path) == {1, 2, 3, 4}
    (merged,) = packs.merged(applied.repo.path)
    assert await applied.merge_packs() == 3
    assert packs.merged(applied.repo.path) == [merged]
    check(applied)


async def test_merged_packs_are_merged_as_well_once_there_are_many(
    applied: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged_packs, "MOST_PACKS", 0)
    monkeypatch.setattr(merged_packs, "MOST_MERGED", 1)
    base = await applied.seed()
    assert base is not None
    await applied.merge_packs()
    for number, left in ((5, 2), (6, 1)):
        await propose(applied, number, base)
        await applied.transition(ProposalId(number), TagState.APPROVED, by="operator", at=1)
        await applied.transition(ProposalId(number), TagState.FAILED, by="hive", at=1)
        await applied.merge_packs()
        assert len(packs.merged(applied.repo.path)) == left
    assert packs.ids(applied.repo.path) == {4}
    check(applied)
