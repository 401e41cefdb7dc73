"""Discovery without a daemon: real repos on the disk, a stand-in for what proposes, and watches that fail."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meta.config import Config
from meta.errors import BadInput, Conflict, HiveError, Refused, TransientError
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.process.run import run
from meta.proposed import push_repo
from reconciler.events.feed import Events
from reconciler.network.operator import OperatorSettings
from reconciler.observe.settings import DeployedSettings
from reconciler.proposals import discovery
from reconciler.proposals.branches import Branches
from reconciler.proposals.discovery import Discovery, KnownTips
from reconciler.proposals.refusals import SHOWN, describe_refusals
from reconciler.proposals.watch import Hints, Watch
from reconciler.store.database import Database
from reconciler.store.refused_tips import RefusedTips
from reconciler.store.seen_tips import SeenTips

ALICE = AgentName("alice")
OLD, NEW = Sha("1" * 40), Sha("2" * 40)
"""Commits of applied/main: what meta pins at first, and a newer one, as after a restore of meta."""
ROOT = Path(__file__).parents[3]


class Proposals:
    """Takes proposals, or raises what stands in `errors` first."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: list[HiveError] = []
        self._came = asyncio.Event()

    async def propose(self, _agent: AgentName, _by: str, commit: str, *rest: object) -> SimpleNamespace:
        self.asked.append(f"{rest[-1]} {commit[0]}")
        self._came.set()
        if self.errors:
            raise self.errors.pop(0)
        return SimpleNamespace(id=len(self.asked))

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for a call after which `wanted`."""
        async with asyncio.timeout(10):
            while not wanted():
                self._came.clear()
                await self._came.wait()


class Stage:
    """alice's push.git, and discovery."""

    def __init__(self, tmp_path: Path, database: Database) -> None:
        self.layout = Layout(tmp_path, tmp_path)
        self.held = False
        for path in (self.layout.proposed(ALICE), self.layout.push_repos):
            path.mkdir(parents=True)
        push_repo.create(self.layout, ALICE, Config())
        self.heads = self.layout.push_repo(ALICE) / "refs" / "heads"
        self.pin = OLD
        self.files = {OLD: b"", NEW: b"auto_propose = true"}
        self.proposals = Proposals()
        self.store = SeenTips(database)
        self.refused = RefusedTips(database, "this hive")
        self.events = Events(database)
        self.now = 0.0
        self.database = database
        self._tasks: list[asyncio.Task[None]] = []

    def tip(self, branch: str, letter: str) -> None:
        """Move a branch as git does."""
        (self.heads / f"{branch}.lock").write_text(letter * 40 + "\n", encoding="ascii")
        (self.heads / f"{branch}.lock").rename(self.heads / branch)

    async def read(self, _agent: AgentName, sha: Sha) -> bytes:
        return self.files[sha]

    async def start(self, watch: Watch | None = None, **settings: Any) -> Discovery:
        desired = SimpleNamespace(agents={ALICE: None})
        kept = SimpleNamespace(held=lambda: self.held)

        async def nothing(*_: object) -> Any:
            return ()

        async def same(*_: object) -> Any:
            return desired

        async def never(*_: object) -> bool:
            return False

        async def newest(*_: object) -> Any:
            return NEW

        observer = SimpleNamespace(
            known=lambda: desired,
            desired=same,
            refresh=nothing,
            stamp=lambda _: "",
            names=lambda: frozenset({ALICE}),
        )
        world: Any = SimpleNamespace(
            layout=self.layout,
            config=Config(**{"resync": 600.0, "retry_backoff": 0.01, **settings}),
            observer=observer,
            applied=lambda _: SimpleNamespace(main=newest, remove_ended=nothing, has=never, kept=kept),
            clock=lambda: self.now,
            now=lambda: int(self.now),
            recorder=None,
            events=self.events,
            network=OperatorSettings(self.layout.network_file),
        )
        deployed = DeployedSettings(lambda _: self.pin, self.read)
        propose: Any = self.proposals.propose
        known = KnownTips(self.store, self.refused)
        made = Discovery(world, propose, known, deployed, Branches(), lambda _: None, watch)
        await made.open()
        self._tasks.append(asyncio.create_task(made.run()))
        return made

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with await Database.open(tmp_path / "hive.db") as database:
        made = Stage(tmp_path, database)
        yield made
        await made.end()


def deaf(_: Callable[[Path], None] | None = None) -> Watch:
    """Hints that never come."""

    async def arm(_folders: list[Path], stop: asyncio.Event) -> AsyncIterator[Hints]:
        await stop.wait()
        yield []

    return Watch(lambda _: None, arm)


async def test_a_missed_hint_costs_at_most_the_resync(stage: Stage) -> None:
    stage.tip("main", "a")
    await stage.start(deaf(), resync=0.02)
    await stage.proposals.until(lambda: stage.proposals.asked == ["proposed/push.git#main a"])
    stage.tip("main", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)
    stage.tip("other", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 3)
    assert stage.proposals.asked[1:] == ["proposed/push.git#main b", "proposed/push.git#other b"]


async def test_what_lies_at_the_old_path_of_a_push_repo_is_reported_without_a_look_once_it_was_swept(
    stage: Stage,
) -> None:
    found = await stage.start(deaf(), resync=0.02)
    assert found.conditions(ALICE) == ()
    (stage.layout.proposed(ALICE) / push_repo.OLD_NAME).mkdir()
    async with asyncio.timeout(30):
        while not found.conditions(ALICE, again=False):
            await asyncio.sleep(0)


async def test_it_looks_again_soon_while_a_fetch_holds_up_the_removal_of_objects(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "AGAIN", 0.02)
    stage.held = True
    stage.tip("main", "a")
    await stage.start(deaf())
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 1)
    stage.tip("main", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)


async def test_without_watches_it_looks_by_itself_and_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "POLL", 0.02)

    async def arm(_folders: list[Path], _stop: asyncio.Event) -> AsyncIterator[Hints]:
        raise OSError("OS file watch limit reached.")
        yield []

    stage.tip("main", "a")
    seeing = await stage.start(Watch(lambda _: None, arm), resync=600.0)
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 1)
    assert seeing.notes()[0].startswith("the kernel has no inotify watches left")
    stage.tip("main", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)


async def test_a_hint_is_enough(stage: Stage) -> None:
    await stage.start()
    stage.tip("main", "a")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 1)
    shutil.rmtree(stage.heads.parent.parent)
    stage.heads.mkdir(parents=True)
    stage.tip("main", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)


async def test_a_source_with_too_many_tips_waits_and_only_the_last_of_a_branch_counts(stage: Stage) -> None:
    for number in range(5):
        stage.tip(f"b{number}", "a")
    seeing = await stage.start(finds_per_minute=3)
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 3)
    await said(seeing, "push/alice.git: more tips than 3 a minute")
    stage.tip("b3", "b")
    stage.tip("b3", "c")
    stage.now += 60.0
    again(seeing)
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 5)
    assert stage.proposals.asked[3:] == ["proposed/push.git#b3 c", "proposed/push.git#b4 a"]


async def test_what_may_pass_is_tried_again_and_what_will_not_is_said(stage: Stage) -> None:
    stage.proposals.errors = [TransientError("disk full"), TransientError("disk full"), BadInput("too large", "less")]
    stage.tip("main", "a")
    seeing = await stage.start()
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 3)
    await said(seeing, "push/alice.git branch main at aaaaaaaaaaaa is no proposal: too large (less)")
    stage.tip("main", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 4)
    assert stage.proposals.asked.count("proposed/push.git#main a") == 3


async def test_a_tip_for_which_there_is_no_room_waits_for_it(stage: Stage) -> None:
    stage.proposals.errors = [Conflict("alice has 20 proposals", "deny some")]
    stage.tip("main", "a")
    seeing = await stage.start()
    await said(seeing, "push/alice.git branch main waits: alice has 20 proposals")
    assert len(stage.proposals.asked) == 1
    again(seeing)
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)


def lines(seeing: Discovery) -> tuple[str, ...]:
    """Return what status shows of alice's proposed repos."""
    return (*seeing.conditions(ALICE), *describe_refusals(seeing.refused(ALICE)))


async def said(seeing: Discovery, condition: str) -> None:
    """Wait for a condition that begins so."""
    async with asyncio.timeout(10):
        while not any(said.startswith(condition) for said in lines(seeing)):
            await asyncio.sleep(0)


async def test_a_refused_tip_is_listed_with_a_way_to_be_rid_of_it_and_told_once(stage: Stage) -> None:
    stage.proposals.errors = [BadInput("too large", "less")]
    stage.tip("it's", "a")
    seeing = await stage.start()
    await said(seeing, "push/alice.git branch it's at aaaaaaaaaaaa is no proposal")
    await stage.end()
    seeing = await stage.start()  # a daemon that starts later
    await said(seeing, "push/alice.git branch it's at aaaaaaaaaaaa is no proposal")
    (tip,) = seeing.refused(ALICE)
    assert (tip.branch, tip.commit, tip.reason) == ("it's", "a" * 40, "too large (less)")
    words = shlex.split(tip.remedy.removeprefix("`").partition("` ")[0])
    assert words == ["git", "push", str(stage.heads.parents[1]), ":refs/heads/it's"]
    (event,) = await stage.events.since(None)
    assert (event.kind, event.agent, event.data["branch"]) == ("tip_refused", ALICE, "it's")


async def test_a_stop_before_a_refusal_is_stored_does_not_lose_its_event(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = asyncio.Event()

    async def save(*_: object) -> None:
        saving.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.refused, "save", save)
    stage.proposals.errors = [BadInput("too large", "less")]
    stage.tip("one", "a")
    await stage.start()
    async with asyncio.timeout(10):
        await saving.wait()
    await stage.end()
    assert [event.kind for event in await stage.events.since(None)] == ["tip_refused"]


async def test_a_later_daemon_fetches_no_refused_tip_again_unless_it_is_another_hive(stage: Stage) -> None:
    stage.proposals.errors = [BadInput("too large", "less")]
    stage.tip("one", "a")
    await said(await stage.start(), "push/alice.git branch one at aaaaaaaaaaaa is no proposal")
    await stage.end()
    stage.tip("two", "b")
    seeing = await stage.start()
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)
    assert [tip.branch for tip in seeing.refused(ALICE)] == ["one"]
    assert stage.proposals.asked[1].endswith("#two b")
    await stage.end()
    stage.refused = RefusedTips(stage.database, "a newer hive")
    await stage.start()
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 3)
    assert stage.proposals.asked[2].endswith("#one a")


async def test_what_the_operators_file_forbids_is_looked_at_again_once_that_file_changes(stage: Stage) -> None:
    stage.proposals.errors = [Refused("network.allow: '@python' is no group of this host", "add it")]
    stage.tip("one", "a")
    seeing = await stage.start(deaf(), resync=0.02)
    await said(seeing, "push/alice.git branch one at aaaaaaaaaaaa is no proposal: network.allow")
    stage.tip("two", "b")
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 2)  # a later look, which left `one` alone
    stage.layout.network_file.write_text('[groups]\npython = ["pypi.org"]\n')
    await stage.proposals.until(lambda: len(stage.proposals.asked) == 3)
    assert [asked[-5:] for asked in stage.proposals.asked] == ["one a", "two b", "one a"]
    async with asyncio.timeout(10):
        while seeing.refused(ALICE):
            await asyncio.sleep(0)


async def test_the_conditions_name_some_refused_tips_and_count_the_rest(stage: Stage) -> None:
    stage.proposals.errors = [BadInput("too large", "less")] * (SHOWN + 2)
    for number in range(SHOWN + 2):
        stage.tip(f"b{number}", "a")
    seeing = await stage.start()
    await said(seeing, "2 more branches are no proposals; `hive pending --refused` lists them")
    assert len([line for line in lines(seeing) if "no proposal" in line]) == SHOWN + 1
    assert len(seeing.refused(ALICE)) == SHOWN + 2


async def test_a_git_directory_that_is_made_anew_is_seen_at_once(stage: Stage) -> None:
    tree = stage.layout.proposed(ALICE) / "config"
    tree.mkdir(parents=True)
    seeing = await stage.start()
    await said(seeing, f"{tree}/.git is not there")
    new = stage.layout.state / "new"
    (new / "refs" / "heads" / "propose").mkdir(parents=True)
    (new / "refs" / "heads" / "propose" / "topic").write_text("b" * 40 + "\n", encoding="ascii")
    new.rename(tree / ".git")
    await stage.proposals.until(lambda: stage.proposals.asked == ["proposed/config#propose/topic b"])
    assert lines(seeing) == ()


def again(seeing: Discovery) -> None:
    """As when a denial makes room: the tags are others than they were."""
    seeing._stamps.clear()
    seeing.glance()


async def test_whether_main_counts_follows_the_commit_that_meta_pins_and_not_applied_main(stage: Stage) -> None:
    heads = stage.layout.proposed(ALICE) / "config" / ".git" / "refs" / "heads"
    (heads / "propose").mkdir(parents=True)
    (heads / "main").write_text("a" * 40 + "\n", encoding="ascii")
    (heads / "propose" / "topic").write_text("b" * 40 + "\n", encoding="ascii")
    seeing = await stage.start(deaf())
    topic, main = "proposed/config#propose/topic b", "proposed/config#main a"
    await stage.proposals.until(lambda: stage.proposals.asked == [topic])
    stage.pin = NEW  # as `hive adopt` does, which leaves the tags as they are
    seeing.glance()
    await stage.proposals.until(lambda: stage.proposals.asked == [topic, main])
    stage.pin = OLD
    (heads / "main").write_text("c" * 40 + "\n", encoding="ascii")
    (heads / "propose" / "topic").write_text("d" * 40 + "\n", encoding="ascii")
    seeing.glance()
    await stage.proposals.until(lambda: len(stage.proposals.asked) > 2)
    assert stage.proposals.asked[2:] == ["proposed/config#propose/topic d"]


async def test_the_end_of_the_watch_ends_discovery(stage: Stage) -> None:
    watch = Watch(lambda _path: None)
    watch.want = lambda *_: None  # type: ignore[method-assign]

    async def end() -> None:
        raise LookupError("on purpose")

    watch.run = end  # type: ignore[method-assign]
    await stage.start(watch)
    (task,) = stage._tasks
    with pytest.raises(LookupError, match="on purpose"):
        async with asyncio.timeout(10):
            await task


PROBE = """
import asyncio
from pathlib import Path
from reconciler.proposals.watch import Watch

async def main():
    folders = [Path({top!r}) / str(number) for number in range(10)]
    watch = Watch(lambda _: None)
    watch.want(None, folders)
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        while watch.complaint is None:
            await asyncio.sleep(0.01)
    print(watch.complaint)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["watches", "instances"])
async def test_a_kernel_that_has_none_left_is_noticed(tmp_path: Path, what: str) -> None:
    for number in range(10):
        (tmp_path / str(number)).mkdir()
    limit = f"/proc/sys/user/max_inotify_{what}"
    script = f'echo {3 if what == "watches" else 0} > {limit} && exec "$@"'
    probe = [sys.executable, "-c", PROBE.format(top=str(tmp_path))]
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *probe]
    done = await run(argv, deadline=20, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    if "unshare" in done.stderr_tail:
        pytest.skip("no user namespaces here")
    assert f"the kernel has no inotify {what} left (raise fs.inotify.max_user_{what})" in done.text
