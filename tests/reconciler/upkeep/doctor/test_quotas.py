"""What `hive doctor` says about a limit of an agent's files that is larger than the disk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from meta.config import Config
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import only, whole_host

SMALL = SimpleNamespace(f_bavail=2**18, f_blocks=2**18, f_frsize=4096, f_files=10**6, f_favail=10**6, f_flag=0)
"""A file system of 1 GiB."""


def limit(subject: Subject, tmp_path: Path, mib: int) -> None:
    """Commit another disk_mib of alice to meta, as a person does."""
    clone, meta = tmp_path / "meta", subject.layout.meta_git
    for words in (["clone", "-q", str(meta), str(clone)], ["-C", str(clone), "config", "user.email", "a@b"]):
        subprocess.run(["git", *words], check=True)
    path = clone / "agents.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["agents"]["alice"]["settings"]["limits"]["disk_mib"] = mib
    path.write_text(json.dumps(content), encoding="utf-8")
    for words in (["-c", "user.name=a", "commit", "-qam", "limit"], ["push", "-q", "origin", "HEAD:main"]):
        subprocess.run(["git", "-C", str(clone), *words], check=True)


async def test_an_agents_limit_that_is_larger_than_the_disk_is_named(subject: Subject, tmp_path: Path) -> None:
    subject.host = whole_host(disk=lambda _: cast(os.statvfs_result, SMALL))
    await only(subject, "quotas", Verdict.OK, "1024 MiB")
    limit(subject, tmp_path, 2048)
    subject._view = None
    row = await only(subject, "quotas", Verdict.WARN, "alice: its disk_mib is 2048")
    assert "has 1024 MiB" in row.text
    assert "agents.json" in row.remedy


async def test_the_limit_of_all_agents_that_is_larger_than_the_disk_is_named_with_what_counts(bare: Subject) -> None:
    bare.host = whole_host(disk=lambda _: cast(os.statvfs_result, SMALL))
    bare.config = Config.model_validate({"agent_disk_mib": 4096})
    row = await only(bare, "quotas", Verdict.WARN, "HIVE_AGENT_DISK_MIB is 4096")
    assert "512 MiB, half of it, count" in row.text
    bare.config = Config()
    await only(bare, "quotas", Verdict.OK, "1024 MiB")
