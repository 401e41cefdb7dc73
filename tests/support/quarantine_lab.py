"""A work tree that another user owns, and a hive that fetches from it."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import ProposalId, Sha
from meta.process import sandbox
from meta.proposed.quarantine.fetch import Fetched, FetchRequest, fetch

AGENT = 524_288
ROOT = os.geteuid() == 0
BWRAP = [
    pytest.mark.bwrap,
    pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed"),
]
needs_root = pytest.mark.skipif(not ROOT, reason="only root can own files as another uid")


@dataclass(frozen=True)
class Repo:
    """A repo and the uid that works in it (None: the caller's)."""

    path: Path
    uid: int | None = None

    def git(self, *words: str, stdin: str | None = None) -> str:
        author = ["-c", "user.name=an agent", "-c", "user.email=agent@localhost", "-c", "protocol.file.allow=always"]
        done = subprocess.run(
            ["git", *author, *words],
            cwd=self.path,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            user=self.uid,
            group=self.uid,
            extra_groups=[] if self.uid is not None else None,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.own()

    def own(self) -> None:
        if self.uid is not None:
            subprocess.run(["chown", "-hR", f"{self.uid}:{self.uid}", self.path], check=True)

    def commit(self, files: dict[str, str] | None = None, message: str = "change") -> Sha:
        self.write(files or {"agent.toml": "x"})
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> Sha:
        return Sha(self.git("rev-parse", "HEAD"))


class QuarantineLab:
    """A state directory with one applied repo, and a work tree cloned from it that belongs to an agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids = itertools.count(1)
        self.layout = Layout(root / "state", root / "run")
        self.applied = Repo(root / "state" / "applied.git")
        self.applied.path.mkdir(parents=True)
        (root / "state").chmod(0o755)
        self.applied.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        self.work = Repo(root / "work", AGENT if ROOT else None)
        self.work.path.mkdir()
        self.work.own()
        self.work.git("init", "--quiet", "--initial-branch=main", ".")
        self.base = self.work.commit({"agent.toml": "model = 1\n", "flake.nix": "{}\n"}, "seed")
        subprocess.run(
            ["git", "-c", "safe.directory=*", "push", "--quiet", self.applied.path, "main"],
            cwd=self.work.path,
            env={
                **os.environ,
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            },
            check=True,
        )

    async def fetch(
        self, commit: str | None = None, source: Path | None = None, config: Config | None = None
    ) -> Fetched:
        """Fetch a commit, and give its objects to the next id, as a proposal does."""
        request = FetchRequest(source or self.work.path, self.applied.path, commit, self.base)
        fetched = await fetch(request, self.layout, config or Config.model_validate({}))
        assert fetched.staged is not None
        fetched.staged.place(ProposalId(next(self.ids)))
        return fetched

    def left_over(self) -> list[Path]:
        return list(self.layout.quarantine.iterdir()) if self.layout.quarantine.exists() else []

    def has(self, commit: str) -> bool:
        return (
            subprocess.run(["git", "-C", self.applied.path, "cat-file", "-e", commit], capture_output=True).returncode
            == 0
        )


@contextlib.contextmanager
def made_lab() -> Iterator[QuarantineLab]:
    """Yield a QuarantineLab outside tmp_path, because pytest closes that to every other uid."""
    with tempfile.TemporaryDirectory(prefix="hive-quarantine-") as path:
        Path(path).chmod(0o755)
        yield QuarantineLab(Path(path))


def config(**values: float) -> Config:
    return Config.model_validate(values)
