"""A start removes what a killed daemon left half-made: only hive's own names, in hive's own folders, not in use."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from meta.layout import Layout
from reconciler.common import leftovers
from reconciler.common.removed import Removed

HALF_MADE = (
    "backend/local/.gone-alice-0123abcd/log",
    "backend/local/.new-bob/hive.json",
    "backend/nixos/.gone-alice-0123abcd/hive.json",
    "backend/local/alice/.settings.json.0123abcd",
    "backend/local/alice/.system-0123abcd",
    "backend/local/alice/run.json.new",
    "generations/alice/.new-0123-0123abcd/tree/agent.toml",
    "generations/alice/.old-0123-0123abcd/tree/agent.toml",
    "roots/alice/.7.json.0123abcd",
    "previews/alice/.7.json.0123abcd",
    ".rollout.json.0123abcd",
    "owner.new",
    "meta/.agents.json.new",
    "meta/.agents.json.new-0123abcd",
    "meta/.git/objects/ab/tmp_obj_0123",
    "applied/alice/.git/objects/ab/tmp_obj_0123",
    "applied/alice/.git/objects/pack/.tmp-1-pack-a",
    "applied/alice/.git/config.hive",
    "removed/applied-carol-0123abcd/.git/HEAD",
)
KEPT = (
    "backend/local/alice/settings.json",
    "backend/local/alice/log",
    "roots/alice/7.json",
    "owner",
    "applied/alice/.git/config",
    "applied/alice/.git/objects/ab/cdef",
    "agents/alice/state/.gone-alice-0123abcd",
    "agents/alice/home/.notes.json.0123abcd",
    "proposed/alice/config/.new-bob",
    ".operators-own",
    "backend/local/.operators-own/file",
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name in (*HALF_MADE, *KEPT):
        path = tmp_path / "s" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="ascii")
    return Layout(tmp_path / "s", tmp_path / "r")


def files(state: Path) -> set[str]:
    return {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()}


def test_what_a_killed_daemon_left_half_made_is_removed_and_named_and_nothing_else_is(layout: Layout) -> None:
    named = leftovers.clear(layout)

    asyncio.run(Removed(layout).empty())
    assert files(layout.state) == set(KEPT)
    assert len(named) == len(HALF_MADE)


def test_a_second_start_finds_nothing(layout: Layout) -> None:
    leftovers.clear(layout)
    asyncio.run(Removed(layout).empty())
    assert leftovers.clear(layout) == []


def test_a_symlink_in_place_of_a_folder_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".7.json.0123abcd").touch()
    (layout.state / "roots" / "bob").symlink_to(elsewhere)
    leftovers.clear(layout)
    assert (elsewhere / ".7.json.0123abcd").exists()


def test_what_the_supervisor_of_a_running_agent_writes_stays(layout: Layout) -> None:
    with (layout.backend("local") / "alice" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        leftovers.clear(layout)
    assert (layout.backend("local") / "alice" / "run.json.new").exists()
    assert not (layout.backend("local") / "alice" / ".settings.json.0123abcd").exists()
