"""Something huge is pushed: the pusher is told at once, or its size keeps it from being a proposal."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

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


def cards(lab: Lab) -> list[dict[str, Any]]:
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


def commit_of_links(lab: Lab, clone: Path, target: str) -> None:
    """Commit 9,900 symlinks to one target, whose names begin with the same 200 letters."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(lab.directory)}

    def git(*words: str, stdin: str) -> str:
        done = subprocess.run(
            ["git", "-C", clone, *words], env=environment, input=stdin, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    blob = git("hash-object", "-w", "--stdin", stdin=target)
    lines = "".join(f"120000 blob {blob}\t{'n' * 200}{number:05}\n" for number in range(9900))
    tree = git("mktree", stdin=f"{lab.git(clone, 'ls-tree', 'HEAD')}\n{lines}")
    lab.git(clone, "reset", "-q", "--soft", lab.git(clone, "commit-tree", "-p", "HEAD", "-m", "links", tree))


def test_the_daemon_answers_while_it_checks_ten_thousand_links_and_their_diff(lab: Lab) -> None:
    clone = lab.commit('label = "links"\n')
    commit_of_links(lab, clone, "a/" * 511 + "a")
    had, longest = len(cards(lab)), 0.0
    lab.git(clone, "push", "-q", str(push_repo.path_of(lab.layout, AgentName("alice"))), "HEAD:refs/heads/links")
    begun = time.monotonic()
    while len(cards(lab)) == had:
        asked = time.monotonic()
        assert lab.get("/healthz")
        longest = max(longest, time.monotonic() - asked)
        assert time.monotonic() - begun < 60, lab.tail()
    assert len(lab.get(f"/api/proposals/{cards(lab)[0]['id']}/diff")["changes"]) == 9901
    assert longest < 2.0
    lab.check_pauses()


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
