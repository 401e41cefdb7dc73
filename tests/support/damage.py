"""Ways to spoil a file of a repo, and to do what the remedy of `hive doctor` says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from meta.git.damage import examine_refs

SPOILT = {"empty": b"", "garbage": b"garbage\n", "cut short": b"0123456789abcdef"}

spoilt = pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT.keys())


def mend(git_dir: Path) -> None:
    """Do what the remedy of each damaged ref says."""
    for hurt in examine_refs(git_dir, meta=git_dir.parent.name == "meta"):
        subprocess.run(["sh", "-c", hurt.remedy.partition(" (")[0]], check=True, timeout=10)


def lose(repo: Path, name: str) -> None:
    (repo / "objects" / name[:2] / name[2:]).unlink()
