"""Discovery's rules, the watching of folders, and the race of a newer proposal against an approval."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied.describe import describe
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.errors import Conflict
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.proposed.tips import Tip
from reconciler.common.token_bucket import Bucket
from reconciler.proposals.discovery import EDITED, PUSHED, Found, counts, hinted, unseen
from reconciler.proposals.superseding import supersede, superseded
from reconciler.proposals.watch import Folder, Watch
from reconciler.proposals.watch import Hints as WatchHints
from reconciler.store.database import Database
from reconciler.store.seen_tips import MOST, SeenTips

ALICE = AgentName("alice")
A, B, C = (Sha(letter * 40) for letter in "abc")
DEPLOY = Deploy(
    agent=ALICE,
    id=ProposalId(1),
    kind=DeployKind.APPLY_COMMIT,
    state=TagState.PROPOSAL,
    sha=A,
    base=None,
    commit_ref=A,
    source="proposed/push.git#main",
    description="",
    requested_at=0,
    proposed_by="push",
)


def fresh(kind: str, *tips: Tip, seen: dict[str, Sha] | None = None, deploys: Iterable[Deploy] = ()) -> list[str]:
    found = unseen(kind, tips, seen or {}, deploys, main=None, auto_propose=False)
    return [f"{each.source} {each.tip.sha[0]}" for each in found]


# the rules
@pytest.mark.parametrize(
    ("kind", "branch", "auto", "wanted"),
    [
        (PUSHED, "main", False, True),
        (PUSHED, "anything/at/all", False, True),
        (EDITED, "main", False, False),
        (EDITED, "main", True, True),
        (EDITED, "propose/topic", False, True),
        (EDITED, "propose", True, False),
        (EDITED, "topic", True, False),
    ],
)
def test_every_pushed_branch_counts_and_of_a_tree_those_meant_for_it(
    kind: str, branch: str, auto: bool, wanted: bool
) -> None:
    assert counts(kind, branch, auto) is wanted


def test_a_tip_is_found_once_per_branch() -> None:
    seen = {"proposed/push.git#main": A}
    assert fresh(PUSHED, Tip("main", A), seen=seen) == []
    assert fresh(PUSHED, Tip("main", B), seen=seen) == ["proposed/push.git#main b"]
    assert fresh(PUSHED, Tip("other", A), seen=seen) == ["proposed/push.git#other a"]


@pytest.mark.parametrize("state", list(TagState))
def test_what_the_tags_know_is_not_found_again_when_the_store_is_gone(state: TagState) -> None:
    assert fresh(PUSHED, Tip("main", A), deploys=[replace(DEPLOY, state=state)]) == []


def test_a_denied_commit_on_another_branch_is_found() -> None:
    denied = replace(DEPLOY, state=TagState.DENIED)
    assert fresh(PUSHED, Tip("again", A), deploys=[denied]) == ["proposed/push.git#again a"]


def test_what_was_deployed_is_nothing_to_propose() -> None:
    old = replace(DEPLOY, state=TagState.DEPLOYED, source="seed")
    assert fresh(PUSHED, Tip("main", A), Tip("other", B), deploys=[old]) == ["proposed/push.git#other b"]
    assert unseen(PUSHED, [Tip("main", C)], {}, [], main=C, auto_propose=False) == ()


def test_who_pushed_is_the_owner_of_the_ref() -> None:
    assert Found(PUSHED, "", Tip("main", A, 1000)).by == "push by uid 1000"
    assert Found(PUSHED, "", Tip("main", A)).by == "push"
    assert Found(EDITED, "", Tip("main", A, 1000)).by == "manager"


def test_a_source_finds_so_many_in_a_minute_and_then_waits() -> None:
    bucket, wait = Bucket(2.0, 0.0), 0.0
    for _ in range(2):
        bucket, wait = bucket.take(0.0, 2)
        assert wait == 0.0
    bucket, wait = bucket.take(0.0, 2)
    assert wait == pytest.approx(30.0)
    _, wait = bucket.take(29.0, 2)
    assert wait == pytest.approx(1.0)
    _, wait = bucket.take(30.0, 2)
    assert wait == 0.0
    _, wait = bucket.take(-1000.0, 2)  # the clock was set back
    assert wait == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("path", "agent"),
    [
        ("alice", "alice"),
        ("alice/push.git", "alice"),
        ("alice/push.git/refs/heads/x", "alice"),
        ("alice/push.git/packed-refs", "alice"),
        ("alice/config/.git/refs/heads/propose/x", "alice"),
        ("alice/config/.git/packed-refs", "alice"),
        ("alice/config/.git/index", None),
        ("alice/config/.git/COMMIT_EDITMSG", None),
        ("alice/push.git/refs/heads/x.lock", None),
        ("", None),
        ("../elsewhere", None),
    ],
)
def test_a_hint_says_whose_repos_to_look_at(path: str, agent: str | None) -> None:
    top = Path("/s/proposed")
    assert hinted(top, Path(os.path.normpath(top / path))) == agent


# what is remembered
async def test_seen_tips_outlive_the_daemon_and_are_bounded(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "hive.db") as database:
        store = SeenTips(database)
        await store.save(ALICE, "proposed/push.git#main", A, 1)
        await store.save(ALICE, "proposed/push.git#main", B, 2)
        await store.save(AgentName("bob"), "proposed/push.git#main", C, 2)
    async with await Database.open(tmp_path / "hive.db") as database:
        store = SeenTips(database)
        assert (await store.load())[ALICE] == {"proposed/push.git#main": B}
        await asyncio.gather(*(store.save(ALICE, f"s#{number}", A, 3) for number in range(MOST + 5)))
        assert len((await store.load())[ALICE]) == MOST
        await store.forget(ALICE)
        assert list(await store.load()) == ["bob"]


# superseding
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
    ]
    assert superseded(deploys) == {1: 5, 2: 5}


@pytest.fixture
async def applied(tmp_path: Path) -> Applied:
    made = Applied(Layout(tmp_path / "s", tmp_path / "r"), ALICE)
    await made.create({"agent.toml": b""}, at=1000)
    return made


async def pin(applied: Applied, id: int, source: str = "proposed/push.git#main") -> None:
    seed = await applied.seed()
    assert seed is not None
    pinning = Pinning(DeployKind.APPLY_COMMIT, seed, None, seed, source, by="push", description="first words")
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
            supersede(applied, deploys, by="push", at=1),
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
    assert await supersede(applied, await applied.deploys(), by="push", at=5) == (1,)
    first, second = await applied.deploys()
    assert (first.state, first.reason) == (TagState.DENIED, "superseded by 2")
    assert second.state is TagState.PROPOSAL
    assert await supersede(applied, await applied.deploys(), by="push", at=5) == ()


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


# watching
class Hints:
    """What a watch said, and waiting for it."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._came = asyncio.Event()

    def __call__(self, path: Path) -> None:
        self.paths.append(path)
        self._came.set()

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not wanted():
                self._came.clear()
                await self._came.wait()


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_change_in_a_watched_folder_is_a_hint_and_one_below_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    hints = Hints()
    watch = Watch(hints)
    watch.want(None, [tmp_path])
    task = asyncio.create_task(watch.run())
    await hints.until(lambda: tmp_path in hints.paths)
    (tmp_path / "below" / "y").touch()
    (tmp_path / "x").touch()
    await hints.until(lambda: tmp_path / "x" in hints.paths)
    assert tmp_path / "below" / "y" not in hints.paths
    assert watch.complaint is None
    await ended(task)


async def test_other_folders_can_be_watched_without_a_gap(tmp_path: Path) -> None:
    hints = Hints()
    watch = Watch(hints)
    watch.want(None, [tmp_path])
    task = asyncio.create_task(watch.run())
    await hints.until(lambda: tmp_path in hints.paths)
    new = tmp_path / "new"
    new.mkdir()
    (new / "early").touch()
    watch.want(None, [tmp_path, new])
    (new / "late").touch()
    before = len(hints.paths)
    # once it is watched there is a hint for what came before; later ones come by themselves
    await hints.until(lambda: any(path in (new, new / "late") for path in hints.paths[before:]))
    (tmp_path / "still").touch()
    await hints.until(lambda: tmp_path / "still" in hints.paths)
    await ended(task)


async def test_a_folder_that_was_removed_and_made_again_is_watched_again(tmp_path: Path) -> None:
    inner = tmp_path / "x"
    inner.mkdir()
    hints = Hints()
    watch = Watch(hints)
    watch.want(None, [tmp_path, inner])
    task = asyncio.create_task(watch.run())
    await hints.until(lambda: inner in hints.paths)
    inner.rmdir()
    inner.mkdir()  # the kernel may well give it the same inode
    watch.want(None, [tmp_path, inner])
    before = len(hints.paths)
    await hints.until(lambda: hints.paths[before:].count(inner) > 0)
    for number in range(100):  # until it is watched
        if any(path.parent == inner for path in hints.paths):
            break
        (inner / str(number)).touch()
        await asyncio.sleep(0.02)
    assert any(path.parent == inner for path in hints.paths)
    await ended(task)


async def test_a_lack_of_watches_is_said_and_tried_again(tmp_path: Path) -> None:
    hints, tries, full = Hints(), 0, True

    async def arm(folders: list[Path], stop: asyncio.Event) -> AsyncIterator[WatchHints]:
        nonlocal tries
        tries += 1
        hints(Path(str(tries)))
        if full:
            raise OSError("OS file watch limit reached. about [...]")
        await stop.wait()
        yield []

    watch = Watch(hints, arm, retry=0.01)
    watch.want(None, [tmp_path])
    task = asyncio.create_task(watch.run())
    await hints.until(lambda: tries > 2)
    assert watch.complaint is not None
    assert watch.complaint.startswith("the kernel has no inotify watches left (raise fs.inotify.max_user_watches)")
    full, before = False, tries
    await hints.until(lambda: tries > before and watch.complaint is None)
    await ended(task)


async def test_an_error_inside_hive_ends_the_watch_and_is_no_trouble_with_watching(tmp_path: Path) -> None:
    async def arm(folders: list[Path], stop: asyncio.Event) -> AsyncIterator[WatchHints]:
        await asyncio.sleep(0)
        raise LookupError("on purpose")
        yield []

    watch = Watch(lambda _path: None, arm)
    watch.want(None, [tmp_path])
    with pytest.raises(LookupError, match="on purpose"):
        async with asyncio.timeout(10):
            await watch.run()
    assert watch.complaint is None


@pytest.mark.parametrize("kind", ["gone", "file", "symlink"])
def test_only_folders_are_watched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.touch()
    elif kind == "symlink":
        path.symlink_to(tmp_path)
    assert Folder.of(path).inode == 0


async def test_a_folder_that_was_replaced_gets_a_watch_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    before = Folder.of(tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "y")
    (tmp_path / "x").mkdir()
    assert Folder.of(tmp_path / "x") != before
