"""A repo of an older hive is told from a damaged one of this hive, and nothing is read from it or written to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.applied.older import is_older
from meta.applied.repo import Applied
from meta.errors import Damaged
from meta.layout import Layout
from meta.names import AgentName
from reconciler.daemon.state_directory import clear_locks
from tests.support import older_layout

ALICE = AgentName("alice")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "s", tmp_path / "r")


def test_an_older_repo_is_told_also_if_its_configuration_is_lost(layout: Layout) -> None:
    folder = older_layout.make(layout, ALICE)
    assert is_older(folder)
    (folder / ".git/config").write_bytes(b"")
    assert is_older(folder)


async def test_a_repo_of_this_hive_is_not_older_even_if_its_configuration_is_lost(layout: Layout) -> None:
    await Applied(layout, ALICE).create({"agent.toml": b""}, 1)
    assert not is_older(layout.applied(ALICE))
    (layout.applied_git(ALICE) / "config").write_bytes(b"")
    assert not is_older(layout.applied(ALICE))


def test_a_link_is_not_followed(layout: Layout) -> None:
    folder = older_layout.make(layout, ALICE)
    (folder.parent / "bob").symlink_to(folder)
    assert not is_older(folder.parent / "bob")


async def test_neither_its_tags_are_read_nor_a_seed_written(layout: Layout) -> None:
    folder = older_layout.make(layout, ALICE)
    before = contents(folder)
    with pytest.raises(Damaged, match="layout of an older hive"):
        await Applied(layout, ALICE).deploys()
    with pytest.raises(Damaged, match="layout of an older hive"):
        await Applied(layout, ALICE).create({"agent.toml": b""}, 1)
    assert contents(folder) == before


def test_the_start_of_a_daemon_leaves_its_configuration(layout: Layout) -> None:
    folder = older_layout.make(layout, ALICE)
    before = contents(folder)
    clear_locks(layout)
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
