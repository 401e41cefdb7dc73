"""What ends an unapproved proposal removes the objects that it brought; its tag keeps the facts."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied import kept
from meta.applied.pinning import Pinning
from meta.applied.repo import SEED, Applied
from meta.applied.source import Source
from meta.errors import Conflict, TransientError
from meta.git import packs
from meta.git.objects import FILE, TreeEntry, blob, commit, tree
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.process.recorder import MARKER

Git = Callable[..., str]
ALICE = AgentName("alice")
ONE, TWO = ProposalId(1), ProposalId(2)
SIZE = 200_000


@pytest.fixture
async def spawned(applied: Applied) -> Applied:
    """alice, deployed with id 0."""
    seed = await applied.seed()
    assert seed is not None
    await applied.propose(ProposalId(0), _pinning(seed, None, DeployKind.SPAWN), at=1)
    for state in (TagState.APPROVED, TagState.BUILDING):
        await applied.transition(ProposalId(0), state, by="operator", at=1)
    await applied.deployed(ProposalId(0), by="hive", at=1, meta_commit=Sha("5" * 40), unproven=False, seed=True)
    return applied


def _pinning(sha: Sha, base: Sha | None, kind: DeployKind = DeployKind.APPLY_COMMIT) -> Pinning:
    source = Source.parse("proposed/push.git#main")
    return Pinning(kind, sha, base, sha[:8], source, "push by uid 7", "bigger\n\n    and better\n")


async def _propose(applied: Applied, id: ProposalId, *, on: Sha | None = None) -> Sha:
    """Propose a commit with SIZE random bytes in it; return the commit."""
    main = await applied.main()
    content = blob(os.urandom(SIZE))
    root = tree([TreeEntry(FILE, b"notes", content.id)])
    change = commit(root.id, (on or main or Sha(""),), "bigger", int(id))
    staged = await applied.repo.stage([content, root, change])
    await applied.propose(id, _pinning(change.id, main), at=2000, staged=staged)
    return change.id


async def _one(applied: Applied, id: ProposalId) -> Deploy:
    return next(deploy for deploy in await applied.deploys() if deploy.id == id)


def _size(applied: Applied) -> int:
    return sum(path.stat().st_size for path in (applied.repo.path / "objects").rglob("*") if path.is_file())


async def test_a_denied_proposal_leaves_nothing_but_its_tag(spawned: Applied, git: Git) -> None:
    before = _size(spawned)
    for id in map(ProposalId, range(1, 7)):
        await _propose(spawned, id)
        assert _size(spawned) > before + SIZE
        await spawned.transition(id, TagState.DENIED, by="operator", reason="too big", at=3000)
    assert _size(spawned) < before + 12_000
    assert git(spawned.repo.path, "fsck", "--strict", "--full", "--no-dangling") == ""
    git(spawned.repo.path, "repack", "-a", "-d", "-q")


async def test_the_tag_of_a_denied_id_has_the_facts_of_its_proposal(spawned: Applied, git: Git) -> None:
    sha = await _propose(spawned, ONE)
    pending = await _one(spawned, ONE)
    await spawned.transition(ONE, TagState.DENIED, by="operator", reason="too big\n\nby far", at=3000)
    denied = await _one(spawned, ONE)
    changed = {"state": TagState.DENIED, "resolved_at": 3000, "by": "operator", "reason": "too big\n\nby far"}
    assert denied == replace(pending, kept=False, **changed)  # type: ignore[arg-type]
    assert denied.sha == sha
    assert await spawned.deploys() == await Applied(_layout(spawned), ALICE).deploys()
    assert git(spawned.repo.path, "rev-parse", "denied/1^{commit}").strip() == await spawned.main()
    assert "proposal/1" not in git(spawned.repo.path, "tag")
    assert sha in git(spawned.repo.path, "for-each-ref", "--format=%(contents)", "refs/tags/denied/1")


async def test_a_pending_proposal_is_seen_with_its_objects(spawned: Applied, git: Git) -> None:
    sha = await _propose(spawned, ONE)
    assert sha in git(spawned.repo.path, "show", "--stat", "proposal/1")
    assert git(spawned.repo.path, "fsck", "--strict", "--full") == ""


async def test_an_approved_proposal_keeps_its_objects_even_if_it_fails(spawned: Applied, git: Git) -> None:
    sha = await _propose(spawned, ONE)
    await spawned.transition(ONE, TagState.APPROVED, by="operator", at=3000)
    await spawned.transition(ONE, TagState.FAILED, by="hive", reason="no", at=3001)
    await spawned.remove_ended(untagged=True)
    assert (await _one(spawned, ONE)).kept
    assert len((await spawned.files(sha))["notes"].data) == SIZE


async def test_a_clone_made_while_a_proposal_waited_stays_whole(spawned: Applied, git: Git, tmp_path: Path) -> None:
    first = await _propose(spawned, ONE)
    git(tmp_path, "clone", "-q", str(spawned.repo.path), "clone")
    await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
    assert not await spawned.has(first)
    assert git(tmp_path / "clone", "fsck", "--full", "--strict") == ""
    assert first in git(tmp_path / "clone", "show", "proposal/1")


async def test_an_id_whose_commit_was_there_before_stays_as_it_is(spawned: Applied) -> None:
    main = await spawned.main()
    assert main is not None
    await spawned.propose(ONE, _pinning(main, main), at=2000)
    await spawned.transition(ONE, TagState.DENIED, by="operator", reason="no", at=3000)
    assert (await _one(spawned, ONE)).kept
    assert spawned.repo.ref("refs/tags/proposal/1") is not None


async def test_a_second_proposal_of_an_id_takes_nothing_from_the_first(spawned: Applied) -> None:
    first = await _propose(spawned, ONE)
    with pytest.raises(Conflict, match="of a proposal 1 already"):
        await _propose(spawned, ONE)
    assert len((await spawned.files(first))["notes"].data) == SIZE


async def test_a_proposal_that_cannot_be_pinned_leaves_nothing(spawned: Applied) -> None:
    main = await spawned.main()
    assert main is not None
    await spawned.propose(ONE, _pinning(main, main), at=2000)
    with pytest.raises(Conflict, match="there is a proposal 1 of alice already"):
        await _propose(spawned, ONE)
    await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
    assert (await _one(spawned, ONE)).state is TagState.DENIED


# kills
async def test_objects_that_no_tag_got_go_at_the_next_start_only(spawned: Applied) -> None:
    (await spawned.repo.stage([blob(b"x" * SIZE)])).place(TWO)
    assert await spawned.remove_ended() == ()
    assert await spawned.remove_ended(untagged=True) == (TWO,)


async def test_a_denial_that_was_cut_is_completed(spawned: Applied, git: Git) -> None:
    await _propose(spawned, ONE)
    proposal = spawned.repo.ref("refs/tags/proposal/1")
    assert proposal is not None
    with packs.reading(spawned.repo.path):
        await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
    await spawned.repo.transaction([RefChange("refs/tags/proposal/1", new=proposal, old=ABSENT)])
    assert (await _one(spawned, ONE)).state is TagState.DENIED
    assert await spawned.remove_ended() == (ONE,)
    assert spawned.repo.ref("refs/tags/proposal/1") is None
    assert git(spawned.repo.path, "fsck", "--strict", "--full", "--no-dangling") == ""


async def test_objects_that_are_read_go_after_that(spawned: Applied) -> None:
    await _propose(spawned, ONE)
    with packs.reading(spawned.repo.path):
        await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
        assert packs.ids(spawned.repo.path) == {ONE}
    assert await spawned.remove_ended() == (ONE,)


async def test_a_fetch_that_has_begun_keeps_the_objects_of_a_denied_id(spawned: Applied) -> None:
    sha = await _propose(spawned, ONE)
    with _fetch(spawned) as fetch:
        await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
        assert await spawned.remove_ended() == ()
        assert spawned.kept.held()
        assert _answer(fetch, want=await spawned.main(), have=sha) == 0
    assert await spawned.remove_ended() == (ONE,)
    assert not spawned.kept.held()


async def test_a_git_that_does_not_end_keeps_the_objects_for_a_limited_time(
    spawned: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _propose(spawned, ONE)
    with _fetch(spawned):
        await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
        assert await spawned.remove_ended() == ()
        monkeypatch.setattr(kept, "PATIENCE", 0.0)
        assert await spawned.remove_ended() == (ONE,)


async def test_a_git_of_hive_keeps_no_objects(spawned: Applied) -> None:
    await _propose(spawned, ONE)
    with _fetch(spawned, {MARKER: "hive:1"}):
        await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
        assert packs.ids(spawned.repo.path) == set()


@contextlib.contextmanager
def _fetch(applied: Applied, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A git that has told a clone the refs, and waits for what it wants."""
    argv = ["git", "upload-pack", str(applied.repo.path)]
    variables = {key: value for key, value in os.environ.items() if key != MARKER} | dict(environment or {})
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables) as process:
        try:
            _packets(process)
            yield process
        finally:
            process.kill()


def _answer(fetch: subprocess.Popen[bytes], *, want: Sha | None, have: Sha) -> int:
    """Ask for one commit as a clone that has another one; return the exit status of git."""
    lines = (f"want {want}\n", "", f"have {have}\n", "done\n")
    text = "".join(f"{len(line) + 4:04x}{line}" if line else "0000" for line in lines)
    fetch.communicate(text.encode(), timeout=30)
    return fetch.returncode


def _packets(fetch: subprocess.Popen[bytes]) -> None:
    assert fetch.stdout is not None
    while (size := int(fetch.stdout.read(4), 16)) > 0:
        fetch.stdout.read(size - 4)


@pytest.mark.parametrize("content", ["", "garbage\n"])
@pytest.mark.parametrize("state", ["proposal", "approved"])
async def test_a_tag_that_cannot_be_read_keeps_the_objects(spawned: Applied, state: str, content: str) -> None:
    await _propose(spawned, ONE)
    if state == "approved":
        with packs.reading(spawned.repo.path):
            await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
    (spawned.repo.path / f"refs/tags/{state}/1").write_text(content, encoding="ascii")
    await spawned.remove_ended(untagged=True)
    assert packs.ids(spawned.repo.path) == {ONE}


async def test_a_disk_that_fails_does_not_fail_a_denial(spawned: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    await _propose(spawned, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(packs, "remove", _fail)
        await spawned.transition(ONE, TagState.DENIED, by="operator", at=3000)
    assert not (await _one(spawned, ONE)).kept
    assert await spawned.remove_ended() == (ONE,)


def _fail(*_: object) -> bool:
    raise TransientError("the disk fails")


async def test_without_a_base_a_denial_points_at_main_or_the_seed(applied: Applied) -> None:
    await _propose(applied, ONE, on=applied.repo.ref(SEED))
    await applied.transition(ONE, TagState.DENIED, by="operator", at=3000)
    assert not (await _one(applied, ONE)).kept


def _layout(applied: Applied) -> Layout:
    state = applied.repo.path.parents[2]
    return Layout(state, state)
