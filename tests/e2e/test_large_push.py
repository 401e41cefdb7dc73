"""Something huge is pushed: the pusher is told at once, or its size keeps it from being a proposal."""

from __future__ import annotations

import os
import subprocess

import pytest

from meta.names import AgentName
from meta.proposed import push_repo
from tests.support.lab import Lab

LIMIT = 200_000
pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(
        agents=("alice",),
        settings={"HIVE_RESYNC": "600", "HIVE_MAX_PACK_BYTES": str(LIMIT), "HIVE_MAX_FILE_BYTES": "100000"},
    ),
]


def kept(lab: Lab) -> int:
    """Bytes below alice's push.git."""
    repo = push_repo.path_of(lab.layout, AgentName("alice"))
    return sum(path.lstat().st_size for path in repo.rglob("*") if path.is_file())


def cards(lab: Lab) -> list[object]:
    return list(lab.get("/api/proposals", all=1, agent="alice"))


def test_a_pack_over_the_limit_is_refused_while_it_is_sent(lab: Lab) -> None:
    """Noise: zeros would pack below the limit."""
    before, had = kept(lab), cards(lab)
    clone = lab.commit('label = "noise"\n')
    (clone / "noise").write_bytes(os.urandom(4 * LIMIT))
    lab.git(clone, "add", "noise")
    lab.git(clone, "commit", "-q", "-m", "noise")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        lab.git(clone, "push", "-q", str(push_repo.path_of(lab.layout, AgentName("alice"))), "HEAD:refs/heads/noise")
    assert "maximum allowed size" in str(caught.value.stderr)
    assert kept(lab) < before + LIMIT
    assert cards(lab) == had


@pytest.mark.parametrize(
    "size", [2**23, pytest.param(2**30, marks=[pytest.mark.full, pytest.mark.timeout(240)])], ids=["8M", "1G"]
)
def test_a_sparse_file_that_packs_small_is_refused_by_its_own_size(lab: Lab, size: int) -> None:
    """A gigabyte of zeros is a megabyte on the way: it comes in, and is no proposal."""
    lab.stop()
    lab.settings |= {"HIVE_MAX_PACK_BYTES": str(64 * 2**20)}
    lab.start()
    lab.settle("alice")
    had = cards(lab)
    clone = lab.commit('label = "zeros"\n')
    with (clone / "zeros").open("wb") as file:
        file.truncate(size)
    lab.git(clone, "add", "zeros")
    lab.git(clone, "commit", "-q", "-m", "zeros")
    lab.git(clone, "config", "pack.window", "0")
    repo = push_repo.path_of(lab.layout, AgentName("alice"))
    lab.git(repo, "-c", "safe.directory=*", "config", "receive.maxInputSize", str(64 * 2**20))
    branch = f"zeros{size}"
    lab.git(clone, "push", "-q", str(repo), f"HEAD:refs/heads/{branch}")
    lab.until(lambda: any(branch in said and "no proposal" in said for said in lab.agent("alice")["conditions"]))
    assert cards(lab) == had
    assert lab.agent("alice")["phase"] == "running"
    assert lab.hive("propose", "alice", "--from", str(clone)).code in (2, 4)
