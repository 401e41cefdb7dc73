"""A tree is moved out of the way in one rename, and removed afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import Refused
from meta.layout import Layout
from reconciler.common.removed import Removed


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "applied" / "alice" / ".git").mkdir(parents=True)
    return Layout(tmp_path, tmp_path / "r")


async def test_a_tree_that_is_taken_is_whole_out_of_the_way(layout: Layout) -> None:
    await Removed(layout).take(layout.state / "applied" / "alice")
    assert not (layout.state / "applied" / "alice").exists()
    (moved,) = layout.removed.iterdir()
    assert (moved / ".git").is_dir()
    assert layout.removed.stat().st_mode & 0o777 == 0o700


async def test_emptying_removes_what_lies_there_and_returns_it(layout: Layout) -> None:
    removed = Removed(layout)
    await removed.take(layout.state / "applied" / "alice")
    (moved,) = layout.removed.iterdir()
    (moved / ".git").chmod(0o500)
    assert await removed.empty() == [moved]
    assert list(layout.removed.iterdir()) == []


async def test_a_tree_that_is_not_there_is_no_error(layout: Layout) -> None:
    await Removed(layout).take(layout.state / "applied" / "bob")


@pytest.mark.parametrize("path", ["applied", "applied/alice/.git", "applied/../applied/alice"])
async def test_only_a_directory_two_levels_below_the_state_directory_is_taken(layout: Layout, path: str) -> None:
    with pytest.raises(Refused):
        await Removed(layout).take(layout.state / path)


async def test_a_symlink_is_refused(layout: Layout) -> None:
    (layout.state / "applied" / "bob").symlink_to(layout.state / "applied" / "alice")
    with pytest.raises(Refused):
        await Removed(layout).take(layout.state / "applied" / "bob")
