"""Which folders are watched, as they come and go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

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
    """Notes what is there each time that the watches are set anew."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(lambda _: None, kernel.arm)
        self.rounds: asyncio.Queue[frozenset[Folder]] = asyncio.Queue()

    @override
    def _there(self) -> frozenset[Folder]:
        there = super()._there()
        self.rounds.put_nowait(there)
        return there


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
    watch = Noted(kernel)
    hinted: asyncio.Queue[Path] = asyncio.Queue()
    watch.on_hint = hinted.put_nowait
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        watch.want("alice", [folder])
        assert await hinted.get() == folder
        (folder / "main").touch()  # seen by the kernel's watch, which says nothing yet
        watch.want("bob", [other])
        assert {await hinted.get(), await hinted.get()} == {folder, other}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
