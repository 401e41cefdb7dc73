"""A repo of an older hive is told from a damaged one of this hive, and nothing is read from it or written to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.applied.older import Shape, is_older, shape
from meta.applied.repo import Applied
from meta.errors import Damaged
from meta.git.config import CONFIG
from meta.git.transaction import RefChange
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


CORE = "[core]\n\tbare = true\n\thooksPath = /dev/null\n"


@pytest.mark.parametrize(
    "more",
    ["[x]\n\tbare = true\n", "[core]\n\tbare = true\n", CORE, "[core] bare = true\n", '[core "x"]\n\tbare = true\n'],
)
def test_no_line_in_its_configuration_makes_an_older_repo_count_as_current(layout: Layout, more: str) -> None:
    folder = older_layout.make(layout, ALICE)
    config = folder / ".git/config"
    config.write_text(config.read_text(encoding="ascii") + more, encoding="ascii")
    assert shape(folder) is Shape.OLDER
    (folder / "older.git").mkdir()
    assert shape(folder) is Shape.OLDER


@pytest.mark.parametrize("more", ["\tfsmonitor = /x\n", "[core]\n\tbare = true\n", "[include]\n\tpath = /x\n"])
def test_hives_own_configuration_with_one_more_line_is_not_current_beside_a_work_tree(
    layout: Layout, more: str
) -> None:
    folder = older_layout.make(layout, ALICE)
    (folder / ".git/config").write_text(CONFIG, encoding="ascii")
    assert shape(folder) is Shape.CURRENT
    (folder / ".git/config").write_text(CONFIG + more, encoding="ascii")
    assert shape(folder) is Shape.OLDER


def test_a_repo_whose_configuration_git_reads_elsewhere_is_older(layout: Layout) -> None:
    folder = older_layout.make(layout, ALICE)
    (folder / ".git/config").write_text(CONFIG, encoding="ascii")
    (folder / ".git/commondir").write_text("../elsewhere\n", encoding="ascii")
    assert shape(folder) is Shape.OLDER


async def test_a_start_writes_a_configuration_again_that_has_a_foreign_line(layout: Layout) -> None:
    applied = Applied(layout, ALICE)
    await applied.create({"agent.toml": b""}, 1)
    (layout.meta_git).mkdir(parents=True)
    config = applied.repo.path / "config"
    config.write_text(CONFIG + "[x]\n\tbare = true\n", encoding="ascii")
    clear_locks(layout)
    assert config.read_text(encoding="ascii") == CONFIG


async def test_no_hook_and_no_monitor_runs_even_if_the_configuration_of_a_repo_names_them(
    layout: Layout, tmp_path: Path
) -> None:
    applied = Applied(layout, ALICE)
    seed = await applied.create({"agent.toml": b""}, 1)
    program, ran = tmp_path / "hooks/reference-transaction", tmp_path / "ran"
    older_layout.write(program, f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    with (applied.repo.path / "config").open("a", encoding="ascii") as config:
        config.write(f"[core]\n\thooksPath = {program.parent}\n\tfsmonitor = {program}\n")
    await applied.repo.transaction([RefChange("refs/hive/x", new=seed)])
    assert not ran.exists()


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
