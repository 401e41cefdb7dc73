"""Fetch one commit from a repo that hive does not trust.

The untrusted side is `git upload-pack`. It runs as the owner of the directory, or as nobody instead of the host's
root, in a sandbox that sees only that directory, read-only and without a network. hive's own side is `git fetch` into a
throw-away bare repo. The two are connected by pipes (git's fd transport: no path, no shell). So hive never opens the
repo, follows none of its configuration, hooks, alternates or links, and receives nothing that its owner could not read.
The daemon moves the bytes from one pipe to the other, and ends a fetch that brings nothing. The commit is checked in
quarantine before its objects go to the applied repo.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meta.config import Config
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError
from meta.git import packs
from meta.layout import Layout
from meta.names import Sha, commit_id, sha
from meta.process import sandbox
from meta.process.child import OutputTooLarge
from meta.process.privilege import OVERFLOW as NOBODY
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, Streams, run
from meta.process.sandbox import Sandbox
from meta.process.trial import is_sandbox_complaint, tried, tried_user_namespace
from meta.proposed.quarantine.relay import PATIENCE, Stalled, relay
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT, Fetched, QuarantineRepo, explain, hand_over, too_large

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
    """A request to fetch `commit` (7 to 40 hex digits; None: HEAD) from the work tree or bare repo `source`.

    If there is a `base`, the commit must descend from it and must not change flake.nix and flake.lock. `rebase` is the
    hint for a commit that does not descend from it.
    """

    source: Path
    applied_git: Path
    commit: str | None = None
    base: Sha | None = None
    rebase: str = "rebase onto applied/main, then propose again"


async def fetch(request: FetchRequest, layout: Layout, config: Config, recorder: Recorder | None = None) -> Fetched:
    """Fetch one commit, check it and hand it over to the applied repo as a staged pack, which the caller places or
    discards. The quarantine repo is always removed.

    Raise BadInput (not a repo, a corrupted one, the name of a branch), NotFound (repo or commit), Refused (a check
    failed, over a limit, does not descend from the base, no bubblewrap), TransientError (deadline, full disk).
    """
    wanted = commit_id(request.commit) if request.commit is not None else None
    _refuse_links(request.source, layout.state)
    transfer = _Fetch(_reader(_inspect(request.source), layout.state), config, recorder)
    repo = QuarantineRepo.create(layout.quarantine, request.applied_git, config, recorder)
    try:
        with packs.reading(request.applied_git):  # the commit may be built on one whose proposal ends meanwhile
            commit = await transfer.resolve(wanted)
            await transfer.receive(repo, commit, wanted)
            fetched = await repo.check(commit, request.base, request.rebase)
            staged = await hand_over(
                repo.path, request.applied_git, commit, request.base, config.git_deadline, recorder
            )
        return replace(fetched, staged=staged)
    finally:
        repo.remove()


# the untrusted side
@dataclass(frozen=True, slots=True)
class _ForeignRepo:
    """The directory of a repo and who reads it there; `git_dir` is the path of the repo inside the sandbox.

    `uid` is the owner, unless `borrowed`.
    """

    path: Path
    uid: int
    git_dir: Path
    borrowed: bool = False


def _reader(repo: _ForeignRepo, state: Path) -> _ForeignRepo:
    """Let nobody read a repo of root's that hive made for pushers: git writes there what all may read.

    Another repo of root's is read in a user namespace: its modes may be root's alone.
    """
    if repo.uid == 0 and repo.path.is_relative_to(state) and privilege().hands_out_uids:
        return replace(repo, uid=NOBODY, borrowed=True)
    return repo


def _inspect(path: Path) -> _ForeignRepo:
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
        return _ForeignRepo(path, top.st_uid, _INSIDE / ".git")
    raise BadInput(
        f"{path}/.git is not a directory but {_kind(inner.st_mode)}", "give a plain clone, not a linked work tree"
    )


def _refuse_links(path: Path, top: Path) -> None:
    """Raise Refused if a directory between `top` and `path` is a symlink. Without root the manager can create one."""
    if not path.is_relative_to(top):
        return  # the operator gave the path
    for folder in path.relative_to(top).parents:
        parent = top / folder
        if parent != top and parent.is_symlink():
            raise Refused(f"{parent} is a symlink: hive fetches nothing through it", "move it aside, then rebuild")


def _inspect_bare(path: Path, missing: FileNotFoundError) -> _ForeignRepo:
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
    return _ForeignRepo(path, top.st_uid, _INSIDE)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symlink"), (stat.S_ISREG, "a file"), (stat.S_ISFIFO, "a fifo"))
    return next((words for test, words in kinds if test(mode)), "something else")


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One fetch, with both of its ends."""

    source: _ForeignRepo
    config: Config
    recorder: Recorder | None

    async def resolve(self, wanted: str | None) -> Sha:
        """Return the full id of the wanted commit (None: HEAD). A full id is returned without a look at the repo."""
        if wanted is not None and len(wanted) == 40:
            return Sha(wanted)
        where = f"--git-dir={self.source.git_dir}"
        spec = f"{wanted or 'HEAD'}^{{commit}}"
        argv = self._confined([where, "rev-parse", "--verify", "--end-of-options", spec])
        try:
            done = await run(
                argv,
                deadline=min(PATIENCE, self.config.fetch_deadline),
                recorder=self.recorder,
                limits=self._limits(),
                streams=Streams(output_limit=4096),
                check=False,
            )
        except (ProcessTimeout, OutputTooLarge) as error:
            if isinstance(error, OutputTooLarge):
                raise self._output_error() from error
            short = self.config.fetch_deadline <= PATIENCE
            raise self._timeout_error() if short else self._stalled_error() from error
        if done.code != 0:
            await self._require_sandbox(done)
            raise explain(done.stderr_tail, wanted or "HEAD", self.source.path)
        try:
            commit = sha(done.text)
        except BadInput as error:
            raise self._output_error() from error
        if wanted is not None and not commit.startswith(wanted):
            raise BadInput(
                f"{wanted} is the name of a branch or tag in {self.source.path}", "give the full commit id (40 digits)"
            )
        return commit

    async def receive(self, repo: QuarantineRepo, commit: Sha, wanted: str | None) -> None:
        """Fetch exactly `commit` to FETCHED in the quarantine repo."""
        with contextlib.ExitStack() as near, contextlib.ExitStack() as far, contextlib.ExitStack() as middle:
            request_read, request_write = _pipe(far, near)
            pack_read, relay_write = _pipe(near, middle)
            relay_read, pack_write = _pipe(middle, far)
            receiving = asyncio.ensure_future(
                repo.receive(commit, pack_read, request_write, self._limits(), near.close)
            )
            serving = asyncio.ensure_future(self._serve(request_read, pack_write, far.close))
            relaying = asyncio.ensure_future(self._relay(relay_read, relay_write, middle.close))
            try:
                await _together(receiving, serving, relaying)
            except ProcessTimeout as error:
                raise self._timeout_error() from error
            except Stalled as error:
                raise self._stalled_error() from error
            done, served = receiving.result(), serving.result()
        if repo.overflowed():
            raise too_large(wanted or commit, self.config)
        if done.code != 0 or not repo.holds(commit):  # git refuses some commits with a warning only
            await self._require_sandbox(served)
            raise explain(f"{served.stderr_tail}\n{done.stderr_tail}", wanted or commit, self.source.path)

    async def _relay(self, source: int, sink: int, ended: Callable[[], object]) -> None:
        """Move the pack from upload-pack to `git fetch`; each sees the other one end."""
        try:
            await relay(source, sink, PATIENCE)
        finally:
            ended()

    async def _serve(self, source: int, sink: int, started: Callable[[], object]) -> Completed:
        """Run upload-pack as the owner, in the sandbox."""
        words = ["upload-pack", "--strict", f"--timeout={math.ceil(self.config.fetch_deadline)}"]
        try:
            return await run(
                self._confined([*words, str(self.source.git_dir)]),
                deadline=self.config.fetch_deadline,
                recorder=self.recorder,
                limits=self._limits(),
                streams=Streams(stdio=(source, sink), on_start=started),
                check=False,
            )
        finally:
            started()  # if it could not be started: the other side must see the end of the pipe, not wait for it

    async def _require_sandbox(self, ended: Completed) -> None:
        """Raise Refused with the host's own fault if it was the sandbox that failed, and not git in it."""
        if ended.code != 0 and is_sandbox_complaint(ended.stderr_tail):
            changes_uid = self.source.uid and privilege().hands_out_uids
            await (tried() if changes_uid else tried_user_namespace())

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
        if self.source.borrowed or os.geteuid() not in (0, self.source.uid):
            # Then it runs as another user than the owner, in a sandbox that sees nothing but this directory.
            yield "safe.directory", "*"

    def _limits(self) -> dict[int, int]:
        return {
            resource.RLIMIT_AS: _MEMORY,
            resource.RLIMIT_CPU: math.ceil(self.config.fetch_deadline),
            resource.RLIMIT_CORE: 0,
        }

    def _timeout_error(self) -> HiveError:
        return TransientError(
            f"fetching from {self.source.path} took longer than {self.config.fetch_deadline:g} s",
            "is the repo very large? HIVE_FETCH_DEADLINE sets the limit",
        )

    def _stalled_error(self) -> HiveError:
        return TransientError(
            f"git kept hive waiting in {self.source.path}: it sent too little for {PATIENCE:g} s",
            "look at its .git/config and at the links in it, without running git there; then propose again",
        )

    def _output_error(self) -> HiveError:
        return BadInput(f"git gave no commit id for {self.source.path}", "see `git fsck` there")


async def _together(*tasks: asyncio.Future[Any]) -> None:
    """Wait until all are done. The first error ends the others, and is raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        done = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """Create a pipe whose ends belong to two stacks.

    hive closes its copies once both programs run. So each program notices when the other closes its end.
    """
    # Not a socket pair: if upload-pack dies with input unread, a socket reports "connection reset", at which git's
    # remote-fd hangs; a pipe reports end of file.
    reader, writer = os.pipe()
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer
