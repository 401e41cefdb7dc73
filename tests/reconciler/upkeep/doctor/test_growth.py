"""What `hive doctor` says about packs and about branches that were decided, and what `--fix` makes of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied import merged_packs
from meta.config import Config
from meta.git import packs as git_packs
from reconciler.upkeep.doctor.checks import packs
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import ALICE, aged, look, only

pytestmark = pytest.mark.bwrap


async def test_many_packs_are_merged_without_a_daemon_and_left_to_the_daemon_beside_it(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "_MANY", 0)
    monkeypatch.setattr(merged_packs, "MOST_PACKS", 0)
    beside = replace(subject, held=True)
    assert not (await only(beside, "growth", Verdict.WARN, "has 1 packs, one of each id")).fixable
    rows = await look(subject, "growth", fix=True)
    assert [row.text.split(" of ")[0] for row in rows if row.fixed] == ["merged 1 packs"]
    assert git_packs.ids(subject.layout.applied_git(ALICE)) == frozenset()


async def test_decided_branches_of_a_large_push_repo_are_removed_with_their_objects(subject: Subject) -> None:
    repo = subject.layout.push_repo(ALICE)
    deploys = await subject.applied(ALICE).deploys()
    topic = repo / "refs/heads/topic"
    topic.write_text(f"{deploys[0].sha}\n", encoding="ascii")
    loose = _loose(repo)
    small = replace(subject, config=Config(max_pack_bytes=1000))
    assert (await look(small, "growth"))[0].verdict is Verdict.OK  # it was pushed and decided just now
    small.host = replace(small.host, now=lambda: time.time() + 7200)
    row = await only(small, "growth", Verdict.WARN, "1 of its branches are decided: topic")
    assert row.fixable
    await look(small, "growth", fix=True)
    assert not topic.exists()
    assert (repo / "refs/heads/main").exists()
    assert not loose.exists()
    assert (await look(small, "growth"))[0].verdict is Verdict.OK


def _loose(repo: Path) -> Path:
    """An object that no ref reaches."""
    path = repo / "objects/ab" / ("0" * 38)
    path.parent.mkdir()
    path.write_bytes(b"x" * 10_000)
    aged(path, 3600)
    return path
