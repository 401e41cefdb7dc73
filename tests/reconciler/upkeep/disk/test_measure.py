"""What agents hold, counted by du: whatever they make, only their own files count, and a gap is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.layout import Layout
from meta.names import MANAGER, AgentName
from reconciler.upkeep.disk import measure as module
from reconciler.upkeep.disk.measure import Measured, measure

ALICE, BOB = AgentName("alice"), AgentName("bob")
MIB = 2**20


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "s", tmp_path / "r")
    for agent in (ALICE, BOB, MANAGER):
        layout.agent_state(agent).mkdir(parents=True)
        layout.agent_home(agent).mkdir()
    return layout


async def test_files_of_state_and_home_count_and_those_behind_symlinks_do_not(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 4 * MIB)
    (layout.agent_home(ALICE) / "own").write_bytes(b"x" * MIB)
    (layout.agent_state(ALICE) / "link").symlink_to(tmp_path / "large")
    (layout.agent_state(BOB) / "up").symlink_to(tmp_path)

    sums = await measure(layout, [ALICE, BOB])

    assert MIB <= sums[ALICE].bytes < 2 * MIB
    assert sums[BOB].bytes < MIB
    assert sums[ALICE].complete
    assert sums[BOB].complete


async def test_holes_and_other_names_of_a_file_do_not_count(layout: Layout) -> None:
    file = layout.agent_state(ALICE) / "file"
    file.write_bytes(b"x" * MIB)
    for number in range(3):
        (layout.agent_state(ALICE) / f"name-{number}").hardlink_to(file)
    with (layout.agent_state(ALICE) / "holes").open("wb") as holes:
        holes.truncate(2**40)

    sums = await measure(layout, [ALICE])

    assert MIB <= sums[ALICE].bytes < 2 * MIB


async def test_the_managers_work_trees_count_for_the_manager(layout: Layout) -> None:
    work_tree = layout.proposed_config(ALICE)
    work_tree.mkdir(parents=True)
    (work_tree / "file").write_bytes(b"x" * MIB)

    sums = await measure(layout, [ALICE, MANAGER])

    assert sums[MANAGER].bytes >= MIB > sums[ALICE].bytes


async def test_an_agent_that_cannot_be_counted_does_not_hide_the_others(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "du"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in *alice*) echo "du: cannot read directory: Permission denied" >&2; exit 1;; esac\n'
        'shift 4; for path; do printf "8\\t%s\\n" "$path"; done\n',
        encoding="ascii",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    sums = await measure(layout, [ALICE, BOB])

    assert not sums[ALICE].complete
    assert sums[BOB] == Measured(16 * 1024, inodes=16)


async def test_a_count_that_does_not_end_is_incomplete(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER_SECONDS", 0.0)
    monkeypatch.setattr(module, "ALONE_SECONDS", 0.0)

    assert await measure(layout, [ALICE]) == {ALICE: Measured(0, complete=False)}
