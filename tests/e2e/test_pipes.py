"""A pipe in the place of one of hive's own files stops neither a running daemon nor its start nor `hive doctor`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.lab import Lab

pytestmark = pytest.mark.lab(agents=("alice", "bob"), backend="fake")


@contextmanager
def a_pipe_at(path: Path) -> Iterator[None]:
    """Put a pipe in the place of a file. Afterwards put the file back."""
    kept = path.with_name(f".kept-{path.name}")
    shutil.move(path, kept)
    os.mkfifo(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        shutil.move(kept, path)


def damaged(lab: Lab) -> str:
    rows = json.loads(lab.hive("doctor", "--json").out)["checks"]
    return "\n".join(row["text"] for row in rows if row["check"] == "damage")


def test_a_running_daemon_holds_an_agent_with_a_pipe_in_the_place_of_a_tag(lab: Lab) -> None:
    path = lab.applied() / "refs/tags/deployed/0"
    with a_pipe_at(path):
        lab.post("/api/reconcile", agent="alice")
        lab.until(lambda: lab.agent()["phase"] == "damaged" or None)
        assert lab.agent("bob")["phase"] == "running"
        assert str(path) in damaged(lab)
    lab.kill()
    lab.start()
    lab.settle()


def test_a_daemon_starts_with_a_pipe_in_the_place_of_files_that_hive_makes_again(lab: Lab) -> None:
    state = lab.layout.state
    lab.kill()
    for name in ("meta/.git/HEAD", "reserve/blocks", "reserve/last", "rollout.json", "roots/alice/0.json"):
        path = state / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    lab.start()
    lab.settle()
    assert lab.agent()["phase"] == "running"
    assert lab.stop() == 0
    lab.start()


@pytest.mark.parametrize("name", ["owner", "meta/.git/packed-refs", "meta/.git/refs/heads/main"])
def test_a_daemon_does_not_start_with_a_pipe_in_the_place_of_a_file_that_only_a_person_can_mend(
    lab: Lab, name: str
) -> None:
    path = lab.layout.state / name
    lab.kill()
    if name.endswith("packed-refs"):
        path.write_text("# pack-refs with: peeled fully-peeled sorted \n")
    with a_pipe_at(path):
        assert not lab.start(expect_ready=False)
        lab.died()
        assert f"{path} is damaged: it is a pipe" in lab.tail()
        if name != "owner":
            assert str(path) in damaged(lab)
    lab.start()
    lab.settle()
