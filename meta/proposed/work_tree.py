"""The proposed work trees, in which the manager edits the configuration of the agents.

`proposed/<n>` belongs to hive, `proposed/<n>/config` to the manager. hive creates the work tree in a scratch directory,
changes its owner and renames it into place; from then on hive never opens it. Later git sets the remote `applied`: it
runs as the owner, in a sandbox that contains only the work tree.
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
_SCRIPT = """
first=$1 second=$2 third=$3
shift 3
for name in "$@"; do
  set_ () { git config --file "/trees/$name/.git/config" "$@"; }
  set_ --replace-all remote.applied.url "/applied/$name/.git" &&
    set_ --replace-all remote.applied.fetch "$first" &&
    set_ --add remote.applied.fetch "$second" &&
    set_ --add remote.applied.fetch "$third" || echo "$name"
done
"""
"""Sets the remote in each tree; prints the names of those where git fails."""
DEADLINE = 30.0
"""Seconds for one git command in hive's own scratch."""

_CONFINED_DEADLINE = 10.0
_ASIDE = "move the work tree aside, then `hive rebuild` the agent: that makes a new one"

_DIRECTORY_MODE = 0o755
_INSIDE = Path("/repo")
_log = logging.getLogger(__name__)
_SEED_REFS = ("refs/heads/main", "refs/hive/seed")
"""The refs that may hold an applied repo's newest commit; before the first deploy only the seed is there."""


def present(layout: Layout, agent: AgentName) -> bool:
    """Return True if the work tree is there: a real directory in a real directory."""
    return _is_directory(layout.proposed(agent)) and _is_directory(layout.proposed_config(agent))


def given_away(layout: Layout, agent: AgentName) -> bool:
    """Return True if the work tree is there and belongs to another user than hive."""
    return present(layout, agent) and layout.proposed_config(agent).lstat().st_uid != os.geteuid()


async def create(
    layout: Layout, agent: AgentName, applied_git: Path, uid: int | None, recorder: Recorder | None = None
) -> None:
    """Create the work tree from the applied repo's newest commit, on branch `main`, owned by `uid` (None: by hive).

    Do nothing if there is a work tree, even a broken one. Raise NotFound if the applied repo has no commit yet,
    TransientError on a full disk, PermanentError if something else is in its place, Refused if `proposed/<n>` is a
    symlink.
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
            return  # another task created it meanwhile
        raise _create_error(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def wire_remote(layout: Layout, agent: AgentName, uid: int | None, recorder: Recorder | None = None) -> None:
    """Set the remote `applied` again, as the owner of the work tree. Create the work tree if it is missing.

    If the manager broke the work tree, or if bubblewrap is missing, only log a warning: neither may stop the rebuild of
    an agent.
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


async def add_remotes(
    layout: Layout, agents: Sequence[AgentName], recorder: Recorder | None = None
) -> tuple[AgentName, ...]:
    """Set the remote `applied` in the work trees of `agents`, by one script. Return those in which git could not.

    The script runs as the owner of the trees, in a sandbox that contains nothing else.
    """
    failed: list[AgentName] = []
    owners: dict[int, list[AgentName]] = {}
    for agent in agents:
        if not present(layout, agent) or not _is_directory(layout.proposed_config(agent) / ".git"):
            failed.append(agent)
            continue
        with _parent(layout.proposed(agent)) as parent:
            _link_applied(parent, agent)
        owners.setdefault(layout.proposed_config(agent).lstat().st_uid, []).append(agent)
    for uid, owned in owners.items():
        box = Sandbox(
            writable=tuple((layout.proposed_config(agent), Path(f"/trees/{agent}")) for agent in owned),
            env=(*GIT_ENVIRONMENT.items(), ("HOME", "/nonexistent"), ("PATH", os.environ.get("PATH", os.defpath))),
            uid=uid,
            hostname="proposed",
        )
        argv = sandbox.command(box, ["sh", "-c", _SCRIPT, "sh", *_FETCH, *owned])
        done = await run(argv, deadline=_CONFINED_DEADLINE + len(owned), recorder=recorder, check=False)
        if done.code != 0:
            raise _git_error("the remotes of the work trees cannot be set", done)
        failed += [agent for agent in owned if agent in done.text.split()]
    return tuple(failed)


def take_over(layout: Layout, agent: AgentName, tree: Path) -> None:
    """Rename a work tree of an older hive into its place."""
    try:
        with _parent(layout.proposed(agent)) as parent:
            os.rename(tree, layout.proposed_config(agent).name, dst_dir_fd=parent)
            os.fsync(parent)
    except OSError as error:
        raise _create_error(layout.proposed_config(agent), error) from error


@contextmanager
def _parent(path: Path) -> Iterator[int]:
    """Open `proposed/<n>`, created if it is missing, and yield its descriptor.

    Without root the manager runs as hive's own user and can put a symlink there; a descriptor cannot be redirected.
    """
    path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=_DIRECTORY_MODE)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            what = "a symlink" if path.is_symlink() else "not a directory"
            raise Refused(f"{path} is {what}: hive writes nothing there", "move it aside, then rebuild") from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _link_applied(parent: int, agent: AgentName) -> None:
    """Link `/agents/<n>/applied.git` for the manager's container; on the host the link points nowhere."""
    with suppress(FileExistsError):
        os.symlink(f"/applied/{agent}/.git", "applied.git", dir_fd=parent)


async def _configure(config: Path, uid: int | None, action: Sequence[str], recorder: Recorder | None) -> None:
    if not _is_directory(config / ".git"):
        raise PermanentError(f"{config} is not a git work tree any more", _ASIDE)
    argv = ["git", "config", "--file", str(_INSIDE / ".git/config"), *action]
    done = await run(_confined(config, uid, argv), deadline=_CONFINED_DEADLINE, recorder=recorder, check=False)
    if done.code != 0:
        raise _git_error("git config failed", done)


def _remote(agent: AgentName) -> dict[str, tuple[str, ...]]:
    """Return the settings of the remote. The URL is a path inside the manager's container."""
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
    """Clone hive's own repo into `scratch`. No other user can reach that directory."""

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
            raise _git_error(f"cannot create {agent}'s proposed work tree", done)
        return done

    head = _newest_ref(applied_git)
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


def _newest_ref(applied_git: Path) -> str:
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
    """Do `chown -R` without following symlinks. No other user can reach the tree yet."""
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


def _git_error(what: str, done: Completed) -> HiveError:
    lines = [line for line in done.stderr_tail.split("\n") if line.strip()]
    summary = f"{what}: {one_line(lines[-1], 200) if lines else f'git ended with {done.code}'}"
    if "No space left on device" in done.stderr_tail or "Disk quota exceeded" in done.stderr_tail:
        return TransientError(summary, "free some space; hive tries again")
    return PermanentError(summary, _ASIDE)


def _create_error(target: Path, error: OSError) -> HiveError:
    if os.path.lexists(target):
        return PermanentError(f"{target} is in the way: it is not a directory", "move it aside, then rebuild the agent")
    return TransientError(f"cannot create {target}: {error.strerror}", "is the disk full? hive tries again")
