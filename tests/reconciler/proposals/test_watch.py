"""Watching folders: hints, and which folders are watched as they come and go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from typing_extensions import override

from reconciler.proposals.watch import Folder, Hints, Watch


class Kernel:
    """Stands for the kernel's watches: what was armed, and hints by hand."""

    def __init__(self) -> None:
        self.armed: asyncio.Queue[list[Path]] = asyncio.Queue()
        self.hints: asyncio.Queue[Hints] = asyncio.Queue()

    async def arm(self, folders: list[Path], stop: asyncio.Event) -> AsyncIterator[Hints]:
        self.armed.put_nowait(folders)
        while not stop.is_set():
            hint = asyncio.ensure_future(self.hints.get())
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait({hint, stopped}, return_when="FIRST_COMPLETED")
            stopped.cancel()
            if not hint.done():
                hint.cancel()
                return
            yield hint.result()


class Noted(Watch):
    """Notes which folders exist each time that the watches are set."""

    def __init__(self, kernel: Kernel, on_hint: Callable[[Path], None] = lambda _: None) -> None:
        super().__init__(on_hint, kernel.arm)
        self.rounds: asyncio.Queue[frozenset[Folder]] = asyncio.Queue()

    @override
    def _existing(self) -> frozenset[Folder]:
        existing = super()._existing()
        self.rounds.put_nowait(existing)
        return existing


async def test_a_folder_that_went_away_and_came_back_with_its_inode_is_watched_again(tmp_path: Path) -> None:
    folder, aside = tmp_path / "refs", tmp_path / "aside"
    folder.mkdir()
    kernel = Kernel()
    watch = Noted(kernel)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        watch.want("alice", [folder])
        assert await kernel.armed.get() == [folder]
        while await watch.rounds.get() == frozenset():
            pass
        folder.rename(aside)
        kernel.hints.put_nowait([(folder, True)])
        while await watch.rounds.get():
            pass
        aside.rename(folder)
        watch.want("alice", [folder])
        assert await kernel.armed.get() == [folder]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_change_that_ended_watches_kept_to_themselves_is_hinted_at(tmp_path: Path) -> None:
    folder, other = tmp_path / "refs", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    os.utime(folder, (1, 1))
    kernel = Kernel()
    hinted: asyncio.Queue[Path] = asyncio.Queue()
    watch = Noted(kernel, hinted.put_nowait)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        watch.want("alice", [folder])
        assert await hinted.get() == folder
        (folder / "main").touch()  # seen by the kernel's watch, which says nothing yet
        watch.want("bob", [other])
        assert {await hinted.get(), await hinted.get()} == {folder, other}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Reported:
    """The paths that a watch reported."""

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
    hints = Reported()
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
    hints = Reported()
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
    hints = Reported()
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
    hints, tries, full = Reported(), 0, True

    async def arm(folders: list[Path], stop: asyncio.Event) -> AsyncIterator[Hints]:
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
    async def arm(folders: list[Path], stop: asyncio.Event) -> AsyncIterator[Hints]:
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
