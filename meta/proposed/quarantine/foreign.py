"""A repo that hive does not trust: who reads it there, and git in a sandbox that sees only its directory, read-only."""

from __future__ import annotations

import math
import os
import resource
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from meta.errors import BadInput, NotFound, Refused
from meta.process import sandbox
from meta.process.privilege import OVERFLOW as NOBODY
from meta.process.privilege import privilege
from meta.process.sandbox import Sandbox
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT

_INSIDE = Path("/repo")
_SERVE = {
    "uploadpack.allowAnySHA1InWant": "true",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "pack.threads": "1",
}
_MEMORY = 2 * 2**30
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ForeignRepo:
    """The directory of a repo and who reads it there; `git_dir` is the path of the repo inside the sandbox.

    `uid` is the owner, unless `borrowed`.
    """

    path: Path
    uid: int
    git_dir: Path
    borrowed: bool = False

    def command(self, words: Sequence[str], variables: Mapping[str, str] = _NOTHING) -> list[str]:
        """Return the command line of `git` with these words, run as the owner in the sandbox. The cwd is the repo."""
        settings = [word for key, value in self._settings() for word in ("-c", f"{key}={value}")]
        box = Sandbox(
            read_only=((self.path, _INSIDE),),
            env=(
                *GIT_ENVIRONMENT.items(),
                *variables.items(),
                ("HOME", "/nonexistent"),
                ("PATH", os.environ.get("PATH", os.defpath)),
            ),
            uid=self.uid,
            hostname="quarantine",
            cwd=_INSIDE,
        )
        return sandbox.command(box, ["git", *settings, *words])

    def _settings(self) -> Iterator[tuple[str, str]]:
        yield from _SERVE.items()
        if self.borrowed or os.geteuid() not in (0, self.uid):
            # Then it runs as another user than the owner, in a sandbox that sees nothing but this directory.
            yield "safe.directory", "*"


def reader(repo: ForeignRepo, state: Path) -> ForeignRepo:
    """Let nobody read a repo of root's that hive made for pushers: git writes there what all may read.

    Another repo of root's is read in a user namespace: its modes may be root's alone.
    """
    if repo.uid == 0 and repo.path.is_relative_to(state) and privilege().hands_out_uids:
        return replace(repo, uid=NOBODY, borrowed=True)
    return repo


def inspect(path: Path) -> ForeignRepo:
    """Find the repo and its owner from outside, without opening a file there or following a symlink."""
    try:
        top = path.lstat()
        if not stat.S_ISDIR(top.st_mode):
            raise BadInput(f"{path} is not a directory", "give the directory of a work tree or of a bare repo")
        inner = (path / ".git").lstat()
    except FileNotFoundError as error:
        return _inspect_bare(path, error)
    except PermissionError as error:
        raise Refused(
            f"hive has no permission to read {path}", "run the daemon as root, or make it readable"
        ) from error
    if stat.S_ISDIR(inner.st_mode):
        return ForeignRepo(path, top.st_uid, _INSIDE / ".git")
    raise BadInput(
        f"{path}/.git is not a directory but {_kind(inner.st_mode)}", "give a plain clone, not a linked work tree"
    )


def refuse_links(path: Path, top: Path) -> None:
    """Raise Refused if a directory between `top` and `path` is a symlink. Without root the manager can create one."""
    if not path.is_relative_to(top):
        return  # the operator gave the path
    for folder in path.relative_to(top).parents:
        parent = top / folder
        if parent != top and parent.is_symlink():
            raise Refused(f"{parent} is a symlink: hive fetches nothing through it", "move it aside, then rebuild")


def _inspect_bare(path: Path, missing: FileNotFoundError) -> ForeignRepo:
    try:
        top = path.lstat()
    except FileNotFoundError:
        raise NotFound(
            f"there is no repo at {path}", "was it deleted? `hive rebuild AGENT` creates it again"
        ) from missing
    try:
        bare = stat.S_ISREG((path / "HEAD").lstat().st_mode) and stat.S_ISDIR((path / "objects").lstat().st_mode)
    except FileNotFoundError:
        bare = False
    if not bare:
        raise BadInput(f"{path} is not a git repo", "give the directory of a work tree or of a bare repo") from missing
    return ForeignRepo(path, top.st_uid, _INSIDE)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symlink"), (stat.S_ISREG, "a file"), (stat.S_ISFIFO, "a fifo"))
    return next((words for test, words in kinds if test(mode)), "something else")


def limits(seconds: float) -> dict[int, int]:
    """Return the limits of a git that reads a foreign repo, by RLIMIT_*."""
    return {
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_CPU: math.ceil(seconds),
        resource.RLIMIT_CORE: 0,
    }
