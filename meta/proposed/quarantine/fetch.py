"""Take one commit out of a repository that hive does not trust.

The untrusted side is `git upload-pack`, run as the owner of the directory in a sandbox that sees only that directory,
read-only and without a network. hive's own side is `git fetch` into a throw-away bare repo; the two talk over
pipes (git's fd transport: no path, no shell). So hive never opens the repository, follows none of its configuration,
hooks, alternates or links, and gets nothing that its owner could not read. What was fetched is checked in quarantine
before its objects move into the applied repo.

    fetch          resolve, fetch, check, hand over; the quarantine repo is removed whatever happens
    hand_over      move a checked commit from quarantine into an applied repo
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError
from meta.layout import Layout
from meta.names import Sha, commit_id, sha
from meta.process import sandbox
from meta.process.child import OutputTooLarge
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, run
from meta.process.sandbox import Sandbox
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT, Fetched, Quarantined, explain, hand_over, too_large

__all__ = ["FetchRequest", "Fetched", "fetch", "hand_over"]

_INSIDE = Path("/repo")
_SERVE = {
    "uploadpack.allowAnySHA1InWant": "true",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "pack.threads": "1",
}
_MEMORY = 2 * 2**30


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Fetch `commit` (7 to 40 hex digits; None: HEAD) from the work tree or bare repo `source`.

    It must descend from `base` and leave flake.nix and flake.lock as they are there; None asks for neither.
    `rebase` is the hint for one that does not descend.
    """

    source: Path
    applied_git: Path
    commit: str | None = None
    base: Sha | None = None
    rebase: str = "rebase onto applied/main, then propose again"


async def fetch(request: FetchRequest, layout: Layout, config: Config, recorder: Recorder | None = None) -> Fetched:
    """Fetch, check and hand over one commit.

    Raises BadInput (no repo, corrupted, a branch's name), NotFound (repo or commit), Refused (what it holds, over a
    limit, not descending from the base, no bubblewrap), TransientError (deadline, full disk).
    """
    wanted = commit_id(request.commit) if request.commit is not None else None
    _refuse_links(request.source, layout.state)
    fetching = _Fetching(_look(request.source), config, recorder)
    repo = Quarantined.create(layout.quarantine, request.applied_git, config, recorder)
    try:
        found = await fetching.resolve(wanted)
        await fetching.receive(repo, found, wanted)
        fetched = await repo.checked(found, request.base, request.rebase)
        await hand_over(repo.path, request.applied_git, found, request.base, config.git_deadline, recorder)
        return fetched
    finally:
        repo.remove()


# the untrusted side
@dataclass(frozen=True, slots=True)
class _Source:
    """A directory and its owner; `git_dir` is where its repo is inside the sandbox."""

    path: Path
    uid: int
    git_dir: Path


def _look(path: Path) -> _Source:
    """What can be said from outside, without opening anything in it or following a link of it."""
    try:
        top = path.lstat()
        if not stat.S_ISDIR(top.st_mode):
            raise BadInput(f"{path} is not a directory", "give the directory of a work tree or of a bare repo")
        inner = (path / ".git").lstat()
    except FileNotFoundError as error:
        return _look_bare(path, error)
    except PermissionError as error:
        raise Refused(f"hive may not look into {path}", "run the daemon as root, or make it readable") from error
    if stat.S_ISDIR(inner.st_mode):
        return _Source(path, top.st_uid, _INSIDE / ".git")
    raise BadInput(
        f"{path}/.git is not a directory but {_kind(inner.st_mode)}", "give a plain clone, not a linked work tree"
    )


def _refuse_links(path: Path, top: Path) -> None:
    """Refused when a directory between `top` and `path` is a symlink: without root the manager can put one there."""
    if not path.is_relative_to(top):
        return  # the operator said where it is
    for folder in path.relative_to(top).parents:
        parent = top / folder
        if parent != top and parent.is_symlink():
            raise Refused(f"{parent} is a symlink: hive fetches nothing through it", "move it aside, then rebuild")


def _look_bare(path: Path, missing: FileNotFoundError) -> _Source:
    try:
        top = path.lstat()
    except FileNotFoundError:
        raise NotFound(f"there is no repo at {path}", "was it deleted? `hive rebuild AGENT` makes it anew") from missing
    try:
        bare = stat.S_ISREG((path / "HEAD").lstat().st_mode) and stat.S_ISDIR((path / "objects").lstat().st_mode)
    except FileNotFoundError:
        bare = False
    if not bare:
        raise BadInput(f"{path} is not a git repo", "give the directory of a work tree or of a bare repo") from missing
    return _Source(path, top.st_uid, _INSIDE)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symlink"), (stat.S_ISREG, "a file"), (stat.S_ISFIFO, "a fifo"))
    return next((words for test, words in kinds if test(mode)), "something else")


@dataclass(frozen=True, slots=True)
class _Fetching:
    """Both ends of one fetch."""

    source: _Source
    config: Config
    recorder: Recorder | None

    async def resolve(self, wanted: str | None) -> Sha:
        """The full id of what is asked for; a full id is taken as it is."""
        if wanted is not None and len(wanted) == 40:
            return Sha(wanted)
        where = f"--git-dir={self.source.git_dir}"
        spec = f"{wanted or 'HEAD'}^{{commit}}"
        argv = self._confined([where, "rev-parse", "--verify", "--end-of-options", spec])
        try:
            done = await run(
                argv,
                deadline=self.config.fetch_deadline,
                recorder=self.recorder,
                limits=self._limits(),
                output_limit=4096,
                check=False,
            )
        except (ProcessTimeout, OutputTooLarge) as error:
            raise self._overdue() if isinstance(error, ProcessTimeout) else self._odd_answer() from error
        if done.code != 0:
            raise explain(done.stderr_tail, wanted or "HEAD", self.source.path)
        try:
            found = sha(done.text)
        except BadInput as error:
            raise self._odd_answer() from error
        if wanted is not None and not found.startswith(wanted):
            raise BadInput(
                f"{wanted} is the name of a branch or tag in {self.source.path}", "give the full commit id (40 digits)"
            )
        return found

    async def receive(self, repo: Quarantined, commit: Sha, wanted: str | None) -> None:
        """Fetch exactly `commit` to FETCHED in the quarantine repo."""
        with contextlib.ExitStack() as near, contextlib.ExitStack() as far:
            wish_read, wish_write = _pipe(far, near)
            pack_read, pack_write = _pipe(near, far)
            serving = asyncio.ensure_future(self._serve(wish_read, pack_write, far.close))
            try:
                done = await repo.receive(commit, pack_read, wish_write, self._limits(), near.close)
                served = await serving
            except ProcessTimeout as error:
                raise self._overdue() from error
            finally:
                serving.cancel()
                await asyncio.wait([serving])
        if repo.overflowed():
            raise too_large(wanted or commit, self.config)
        if done.code != 0 or not repo.holds(commit):  # git refuses some commits with a warning only
            raise explain(f"{served.stderr_tail}\n{done.stderr_tail}", wanted or commit, self.source.path)

    async def _serve(self, source: int, sink: int, started: Callable[[], object]) -> Completed:
        """upload-pack as the owner, in the sandbox."""
        words = ["upload-pack", "--strict", f"--timeout={math.ceil(self.config.fetch_deadline)}"]
        try:
            return await run(
                self._confined([*words, str(self.source.git_dir)]),
                deadline=self.config.fetch_deadline,
                recorder=self.recorder,
                stdio=(source, sink),
                limits=self._limits(),
                on_start=started,
                check=False,
            )
        finally:
            started()  # when it could not be started: the other side must see an end, not wait for one

    def _confined(self, words: Sequence[str]) -> list[str]:
        settings = [word for key, value in self._serving() for word in ("-c", f"{key}={value}")]
        box = Sandbox(
            read_only=((self.source.path, _INSIDE),),
            env=(
                *GIT_ENVIRONMENT.items(),
                ("HOME", "/nonexistent"),
                ("PATH", os.environ.get("PATH", os.defpath)),
            ),
            uid=self.source.uid,
            hostname="quarantine",
            cwd=_INSIDE,
        )
        return sandbox.command(box, ["git", *settings, *words])

    def _serving(self) -> Iterator[tuple[str, str]]:
        yield from _SERVE.items()
        if os.geteuid() not in (0, self.source.uid):
            # Without root it runs as hive's user, in a user namespace that sees nothing but this directory.
            yield "safe.directory", "*"

    def _limits(self) -> dict[int, int]:
        return {
            resource.RLIMIT_AS: _MEMORY,
            resource.RLIMIT_CPU: math.ceil(self.config.fetch_deadline),
            resource.RLIMIT_CORE: 0,
        }

    def _overdue(self) -> HiveError:
        return TransientError(
            f"fetching from {self.source.path} took longer than {self.config.fetch_deadline:g} s",
            "is the repo very large? HIVE_FETCH_DEADLINE sets the limit",
        )

    def _odd_answer(self) -> HiveError:
        return BadInput(f"git gave no commit id for what {self.source.path} holds", "see `git fsck` there")


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends belong to two stacks. hive closes its copies once the programs at the ends run, so that each
    sees the end of the other. Not a socket pair: when upload-pack dies with input unread, a socket says "connection
    reset", at which git's remote-fd hangs; a pipe says end of file."""
    reader, writer = os.pipe()
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer
