"""Unlinked files that an agent's processes hold open or mapped, and very many empty files, count as its files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meta.layout import Layout
from meta.names import AgentName
from reconciler.upkeep.disk.measure import measure

ALICE, BOB = AgentName("alice"), AgentName("bob")
MIB = 2**20
CHILD = "import os, sys; os.fork() and (sys.stdin.read(), os._exit(0));"
OPEN = "f = open('file', 'wb'); f.write(b'x' * 2**20); f.flush(); os.unlink('file');"
MAPPED = (
    "import mmap; f = open('file', 'w+b'); f.write(b'x' * 2**20); f.flush(); m = mmap.mmap(f.fileno(), 2**20);"
    "os.unlink('file'); f.close();"
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "s", tmp_path / "r")
    for agent in (ALICE, BOB):
        layout.agent_state(agent).mkdir(parents=True)
    return layout


@contextmanager
def process(layout: Layout, code: str) -> Iterator[int]:
    """Run an agent whose child did what `code` does."""
    words = [sys.executable, "-I", "-S", "-c", f"{CHILD}{code} print('done', flush=True); sys.stdin.read()"]
    where = layout.agent_state(ALICE)
    with subprocess.Popen(words, cwd=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"done\n"
        yield running.pid
        assert running.stdin is not None
        running.stdin.close()


@pytest.mark.parametrize("code", [OPEN, MAPPED], ids=["open", "mapped"])
async def test_an_unlinked_file_that_an_agents_process_holds_counts(layout: Layout, code: str) -> None:
    with process(layout, code) as pid:
        sums = await measure(layout, [ALICE, BOB], {ALICE: pid})

    assert MIB <= sums[ALICE].unlinked <= sums[ALICE].bytes < 2 * MIB
    assert sums[ALICE].complete
    assert sums[BOB].bytes < MIB


async def test_an_open_file_that_has_a_name_counts_once(layout: Layout) -> None:
    with process(layout, OPEN.replace("os.unlink('file')", "pass")) as pid:
        sums = await measure(layout, [ALICE], {ALICE: pid})

    assert sums[ALICE].unlinked == 0
    assert MIB <= sums[ALICE].bytes < 2 * MIB


async def test_an_agent_that_ended_holds_nothing_open(layout: Layout) -> None:
    with process(layout, OPEN) as pid:
        pass

    sums = await measure(layout, [ALICE], {ALICE: pid})

    assert (sums[ALICE].unlinked, sums[ALICE].complete) == (0, True)


async def test_empty_files_count_as_inodes(layout: Layout) -> None:
    for number in range(300):
        (layout.agent_state(ALICE) / f"{number}").touch()

    sums = await measure(layout, [ALICE, BOB])

    assert 300 <= sums[ALICE].inodes < 310
    assert sums[BOB].inodes < 10
