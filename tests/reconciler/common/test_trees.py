"""A tree that others could write in is removed whole, whatever they left there."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.common.trees import remove_tree

NOBODY = 65_534


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory that an ordinary user owns."""
    directory = Path(tempfile.mkdtemp(prefix="hr", dir="/tmp"))
    yield directory
    if directory.exists():
        shutil.rmtree(directory)


async def remove_as_nobody(state: Path, name: str) -> None:
    await asyncio.to_thread(int)  # what this imports, nobody may read
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    await remove_tree(state / "agents" / name, inside=state)


def remove(state: Path, name: str) -> None:
    """In a child."""
    asyncio.run(remove_as_nobody(state, name))


def test_read_only_directories_of_an_agent_are_not_in_the_way_and_links_are_not_followed(state: Path) -> None:
    locked = state / "agents" / "alice" / "state" / "locked" / "twice"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    outside = state / "outside"
    outside.mkdir(mode=0o500)
    (locked / "link").symlink_to(outside)
    for path in (locked, locked.parent):
        path.chmod(0)
    if os.geteuid() == 0:
        for path in (state, *state.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    child = multiprocessing.get_context("fork").Process(target=remove, args=(state, "alice"))
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert not (state / "agents" / "alice").exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_a_folder_that_is_swapped_for_a_symlink_keeps_its_target_as_it_is(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = state / "agents" / "alice" / "state", state / "outside"
    folder.mkdir(parents=True)
    outside.mkdir(mode=0o500)
    walk = os.fwalk

    def swapping(top: Path, *, follow_symlinks: bool) -> Iterator[tuple[str, list[str], list[str], int]]:
        for found in walk(top, follow_symlinks=follow_symlinks):
            if folder.is_dir() and not folder.is_symlink():  # after the look, before the change
                folder.rmdir()
                folder.symlink_to(outside)
            yield found

    monkeypatch.setattr(os, "fwalk", swapping)
    asyncio.run(remove_tree(state / "agents" / "alice", inside=state))
    assert not (state / "agents" / "alice").exists()
    assert outside.stat().st_mode & 0o777 == 0o500
