"""A daemon without root fetches from a work tree that belongs to another user, whose modes let it read."""

from __future__ import annotations

import asyncio
import codecs
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from meta.applied.repo import Applied
from meta.config import Config
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName
from meta.process import sandbox
from meta.process.run import run
from meta.process.sandbox import Sandbox
from meta.proposed.quarantine.fetch import FetchRequest, fetch
from tests.support.in_sandbox import PYTHON, copies
from tests.support.quarantine_lab import made_lab

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two other users"),
]
ALICE = AgentName("alice")
HIVE, MANAGER = 30_000, 852_968


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory of the user hive, with a work tree of the manager's harness in it."""
    directory = Path(tempfile.mkdtemp(prefix="hq", dir="/tmp"))
    directory.chmod(0o755)
    layout = Layout(directory, directory / "run")
    config = layout.proposed_config(ALICE)
    config.mkdir(parents=True)
    identity = ["-c", "user.name=m", "-c", "user.email=m@m"]
    for words in (["init", "-q", "-b", "main"], [*identity, "commit", "-q", "--allow-empty", "-m", "change"]):
        subprocess.run(["git", *words], cwd=config, check=True, timeout=20)
    with (config / ".git" / "config").open("a") as file:
        file.write("[core]\n\tfsmonitor = touch /tmp/never\n")
    for path in (directory, *directory.rglob("*")):
        os.chown(path, HIVE, HIVE)
    for path in (config, *config.rglob("*")):
        os.chown(path, MANAGER, MANAGER)
    yield directory
    shutil.rmtree(directory)


async def fetch_unprivileged(layout: Layout) -> None:
    await asyncio.to_thread(codecs.lookup, "ascii")  # what this imports, the user may not read
    sys.executable, sandbox.LAUNCHER = PYTHON, copies() / "launcher.py"
    os.setgroups([])
    os.setgid(HIVE)
    os.setuid(HIVE)
    os.environ["HOME"] = str(layout.state)
    applied = Applied(layout, ALICE)
    await applied.create({"agent.toml": b""}, 1)
    request = FetchRequest(
        source=layout.proposed_config(ALICE), commit=None, applied_git=layout.applied_git(ALICE), base=None
    )
    fetched = await fetch(request, layout, Config(), None)
    (layout.state / "fetched").write_text(fetched.message)


def child(state: Path) -> None:
    try:
        asyncio.run(fetch_unprivileged(Layout(state, state / "run")))
    except HiveError as error:
        (state / "refused").write_text(f"{error.summary}\n{error.hint}")


def run_child(state: Path) -> None:
    copies()  # here, so that the child's end does not remove them
    process = multiprocessing.get_context("fork").Process(target=child, args=(state,))
    process.start()
    process.join(20)
    assert process.exitcode == 0


def test_it_fetches_what_it_may_read(state: Path) -> None:
    run_child(state)
    assert not (state / "refused").exists(), (state / "refused").read_text()
    assert (state / "fetched").read_text().strip() == "change"


def test_a_tree_that_its_owner_closed_is_refused_by_name(state: Path) -> None:
    Layout(state, state / "run").proposed_config(ALICE).chmod(0o700)
    run_child(state)
    assert "has no permission to read" in (state / "refused").read_text()


@pytest.mark.parametrize("inside", [True, False], ids=["push repo", "work tree of root"])
async def test_no_git_runs_as_the_hosts_root_in_a_repo_of_roots(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push repo is read by nobody; another repo, whose modes may be root's alone, in a user namespace."""
    boxes: list[Sandbox] = []
    command = sandbox.command

    def noted(box: Sandbox, words: Sequence[str]) -> list[str]:
        boxes.append(box)
        return command(box, words)

    monkeypatch.setattr(sandbox, "command", noted)
    with made_lab() as lab:
        source = lab.layout.proposed(ALICE) / "push.git" if inside else lab.root / "mine"
        subprocess.run(["git", "clone", "-q", "--bare", lab.applied.path, source], check=True, timeout=20)
        if not inside:
            subprocess.run(["chmod", "-R", "go=", source], check=True, timeout=20)
        assert source.stat().st_uid == 0
        await lab.fetch(None, source)
        assert boxes
        for box in boxes:
            look = command(box, ["sh", "-c", "id -u; cat /proc/self/uid_map; grep CapBnd /proc/self/status"])
            uid, *uid_map, _, bounding = (await run(look, deadline=20)).text.split()
            assert (uid == "65534") is inside
            assert (uid_map == ["0", "0", "1"]) is not inside
            assert int(bounding, 16) == 0
