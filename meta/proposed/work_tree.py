"""The proposed work trees: where the manager edits an agent's configuration. Not hive's, once they are handed over.

`proposed/<n>` is hive's, `proposed/<n>/config` the manager's. hive makes it in a scratch directory, gives it away and
renames it into place; from then on hive never opens it. What still has to be written there (the remote `applied`) is
written by git running as its owner, in a sandbox that sees nothing else.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from meta.errors import HiveError, NotFound, PermanentError, Refused, TransientError
from meta.layout import Layout
from meta.names import AgentName
from meta.process import sandbox
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, run
from meta.process.sandbox import Sandbox
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT
from meta.text import one_line

REMOTE = "applied"
_FETCH = (
    f"+refs/heads/*:refs/remotes/{REMOTE}/*",
    "+refs/tags/*:refs/tags/*",
    f"+refs/tags/*:refs/remotes/{REMOTE}/refs/tags/*",  # so that `applied/refs/tags/deployed/7` names it (seed 002)
)
DEADLINE = 30.0
"""Seconds for one git command in hive's own scratch."""

_CONFINED_DEADLINE = 10.0
_ASIDE = "move the work tree aside, then `hive rebuild` the agent: that makes a new one"

_DIRECTORY_MODE = 0o755
_INSIDE = Path("/repo")
_log = logging.getLogger(__name__)
_SEED_REFS = ("refs/heads/main", "refs/hive/seed")
"""Where an applied repo's newest commit is; before the first deploy only the seed is there."""


def present(layout: Layout, agent: AgentName) -> bool:
    """Whether the work tree is there, as a real directory in a real directory. Two stat calls."""
    return _is_directory(layout.proposed(agent)) and _is_directory(layout.proposed_config(agent))


def given_away(layout: Layout, agent: AgentName) -> bool:
    """Whether it is there and belongs to somebody else than hive."""
    return present(layout, agent) and layout.proposed_config(agent).lstat().st_uid != os.geteuid()


async def create(
    layout: Layout, agent: AgentName, applied_git: Path, uid: int | None, recorder: Recorder | None = None
) -> None:
    """Make the work tree from the applied repo's newest commit, on branch `main`, owned by `uid` (None: by hive).

    Does nothing when there is one, whatever it holds. Raises NotFound when the applied repo has no commit yet,
    TransientError on a full disk, PermanentError when something else is in its place, Refused when `proposed/<n>` leads
    elsewhere.
    """
    if present(layout, agent):
        return
    target = layout.proposed_config(agent)
    layout.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = layout.scratch / f"proposed-{agent}-{secrets.token_hex(4)}"
    try:
        await _clone(scratch, applied_git, agent, recorder)
        if uid is not None:
            _give_away(scratch, uid)
        with _parent(layout.proposed(agent)) as parent:
            os.fchmod(parent, _DIRECTORY_MODE)
            _link_applied(parent, agent)
            os.rename(scratch, target.name, dst_dir_fd=parent)
    except OSError as error:
        if present(layout, agent):
            return  # somebody was faster
        raise _cannot(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def wire_remote(layout: Layout, agent: AgentName, uid: int | None, recorder: Recorder | None = None) -> None:
    """Set the remote `applied` again, as the owner of the work tree. A missing work tree is made anew.

    A work tree that the manager broke is left to the manager, with a warning in the log: it must not hold up the
    rebuild of an agent. The same without bubblewrap.
    """
    config = layout.proposed_config(agent)
    if not present(layout, agent):
        await create(layout, agent, layout.applied_git(agent), uid, recorder)
        return
    with _parent(layout.proposed(agent)) as parent:
        _link_applied(parent, agent)
        if uid is not None:
            os.chown(config.name, uid, uid, dir_fd=parent, follow_symlinks=False)
    if uid is None and given_away(layout, agent):
        _log.info("the remote %s of %s stays as its owner has it: hive is not root", REMOTE, config)
        return
    try:
        for key, values in _remote(agent).items():
            for number, value in enumerate(values):
                action = ["--replace-all", key, value] if number == 0 else ["--add", key, value]
                await _configure(config, uid, action, recorder)
    except (PermanentError, ProcessTimeout) as error:
        _log.warning("the remote %s of %s is not set: %s (%s)", REMOTE, config, error.summary, error.hint)


@contextmanager
def _parent(path: Path) -> Iterator[int]:
    """`proposed/<n>`, made if it is missing, as a descriptor: what is done through it cannot be led elsewhere.

    Without root the manager runs as hive's own user and can put a link there.
    """
    path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=_DIRECTORY_MODE)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            what = "a symlink" if path.is_symlink() else "no directory"
            raise Refused(f"{path} is {what}: hive writes nothing there", "move it aside, then rebuild") from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _link_applied(parent: int, agent: AgentName) -> None:
    """`/agents/<n>/applied.git` in the manager's container; the link leads nowhere on the host."""
    with suppress(FileExistsError):
        os.symlink(f"/applied/{agent}/.git", "applied.git", dir_fd=parent)


async def _configure(config: Path, uid: int | None, action: Sequence[str], recorder: Recorder | None) -> None:
    if not _is_directory(config / ".git"):
        raise PermanentError(f"{config} is no git work tree any more", _ASIDE)
    argv = ["git", "config", "--file", str(_INSIDE / ".git/config"), *action]
    done = await run(_confined(config, uid, argv), deadline=_CONFINED_DEADLINE, recorder=recorder, check=False)
    if done.code != 0:
        raise _refused("git config failed", done)


def _remote(agent: AgentName) -> dict[str, tuple[str, ...]]:
    """The remote's settings. The URL is the path inside the manager's container."""
    return {
        f"remote.{REMOTE}.url": (f"/applied/{agent}/.git",),
        f"remote.{REMOTE}.fetch": _FETCH,
    }


def _confined(config: Path, uid: int | None, argv: Sequence[str]) -> list[str]:
    box = Sandbox(
        writable=((config, _INSIDE),),
        env=(*GIT_ENVIRONMENT.items(), ("HOME", "/nonexistent"), ("PATH", os.environ.get("PATH", os.defpath))),
        uid=uid,
        hostname="proposed",
    )
    return sandbox.command(box, argv)


async def _clone(scratch: Path, applied_git: Path, agent: AgentName, recorder: Recorder | None) -> None:
    """A work tree of hive's own repo, made by hive before anybody else can touch it."""

    async def git(*words: str) -> Completed:
        settings = ["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.file.allow=always"]
        done = await run(
            ["git", *settings, *words],
            deadline=DEADLINE,
            cwd=scratch,
            recorder=recorder,
            env=GIT_ENVIRONMENT,
            check=False,
        )
        if done.code != 0:
            raise _refused(f"cannot make {agent}'s proposed work tree", done)
        return done

    head = _newest(applied_git)
    scratch.mkdir(mode=_DIRECTORY_MODE)
    await git("init", "--quiet", "--template=", "--initial-branch=main")
    fetch = ["fetch", "--quiet", "--no-write-fetch-head", str(applied_git)]
    await git(*fetch, f"{head}:refs/hive/start", *_FETCH)
    await git("update-ref", "refs/heads/main", "refs/hive/start")
    await git("update-ref", "-d", "refs/hive/start")
    await git("reset", "--quiet", "--hard", "main")
    for key, values in _remote(agent).items():
        for value in values:
            await git("config", "--add", key, value)


def _newest(applied_git: Path) -> str:
    for ref in _SEED_REFS:
        if (applied_git / ref).is_file() or _packed(applied_git, ref):
            return ref
    raise NotFound(f"{applied_git} has no commit yet", "spawn the agent first")


def _packed(git_dir: Path, ref: str) -> bool:
    try:
        lines = (git_dir / "packed-refs").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return any(line.endswith(f" {ref}") for line in lines)


def _give_away(top: Path, uid: int) -> None:
    """chown -R; links themselves, never what they point to. The tree is still out of everybody's reach."""
    for folder, folders, files, fd in os.fwalk(top, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=fd, follow_symlinks=False)
        if Path(folder) == top:
            os.fchown(fd, uid, uid)


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _refused(what: str, done: Completed) -> HiveError:
    lines = [line for line in done.stderr_tail.splitlines() if line.strip()]
    summary = f"{what}: {one_line(lines[-1], 200) if lines else f'git ended with {done.code}'}"
    if "No space left on device" in done.stderr_tail or "Disk quota exceeded" in done.stderr_tail:
        return TransientError(summary, "free some space; hive tries again")
    return PermanentError(summary, _ASIDE)


def _cannot(target: Path, error: OSError) -> HiveError:
    if os.path.lexists(target):
        return PermanentError(f"{target} is in the way: it is no directory", "move it aside, then rebuild the agent")
    return TransientError(f"cannot make {target}: {error.strerror}", "is the disk full? hive tries again")
