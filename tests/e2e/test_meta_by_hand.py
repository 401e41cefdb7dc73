"""An operator changes agents.json by a commit on meta while the daemon runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Lab, fresh_lab

WHO = ["-c", "user.name=operator", "-c", "user.email=operator@localhost"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with fresh_lab("h") as lab:
        lab.spawn("alice")
        yield lab


def commit_limit(lab: Lab, key: str, mib: int) -> None:
    """Commit a limit of alice to meta with the commands of docs/howto/limits.md."""
    clone = Path(lab.directory) / "meta-clone"
    if not clone.exists():
        git(lab.directory, "clone", "-q", "-b", "main", str(lab.layout.meta_git), str(clone))
    file = clone / "agents.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    limits = document["agents"]["alice"]["settings"]["limits"]
    limits.pop("disc_mib", None)
    limits[key] = mib
    file.write_text(json.dumps(document, indent=2), encoding="utf-8")
    git(clone, *WHO, "commit", "-q", "-a", "-m", "limit the disk of alice")
    git(clone, "push", "-q", "origin", "main")


def git(where: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=where, check=True, timeout=20, capture_output=True)


def test_an_agents_own_disk_limit_takes_effect_without_a_restart(lab: Lab) -> None:
    pid = lab.agent("alice")["pid"]

    commit_limit(lab, "disk_mib", 512)

    assert "with their own limit: alice 512.0 MiB" in " ".join(lab.hive("status").out.split())
    assert lab.agent("alice")["pid"] == pid


def test_an_unknown_key_is_named_with_file_and_remedy_and_status_still_answers(lab: Lab) -> None:
    commit_limit(lab, "disc_mib", 512)

    status, plan, reconcile = lab.hive("status"), lab.hive("plan"), lab.hive("reconcile")

    place = "agents.json: agents.alice.settings.limits.disc_mib: unknown key"
    assert status.code == 0, status.err
    assert "running" in status.out
    for text in (" ".join(status.out.split()), plan.err, reconcile.err):
        assert place in text
        assert "by a commit on branch `main` of STATE/meta/.git" in text

    commit_limit(lab, "disk_mib", 512)

    lab.until(lambda: place not in " ".join(lab.hive("status").out.split()))
    assert lab.hive("plan").code == 0
