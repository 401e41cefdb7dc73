"""Commits in a repo of hive."""

from __future__ import annotations

from meta.git.objects import commit, snapshot
from meta.git.repo import GitRepo
from meta.names import Sha


async def add_commit(repo: GitRepo, files: dict[str, bytes], parents: tuple[Sha, ...] = (), message: str = "x") -> Sha:
    """Store a commit that no ref names; return its id."""
    root, objects = snapshot(files)
    stored = commit(root, parents, message, 1000)
    await repo.transaction([], [*objects, stored])
    return stored.id
