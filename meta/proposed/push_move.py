"""The move of push repos from `proposed/<n>/push.git`, where the manager could write, to `push/<n>.git`.

It runs at each start of a daemon, before anything looks at a push repo:

    take    rename proposed/<n>/push.git to push/moving/<n>.git, whatever it is; nothing stays at the old path
    judge   compare it with what hive made (`push_check`); one that differs goes to push/aside and is never used
    copy    write its branches and objects into a new repo in scratch, and rename that to push/<n>.git
    drop    remove push/moving/<n>.git

The repo is copied, not renamed into place: agents run on while the daemon starts, and one that has a folder or file of
the old repo open can write there after a rename, too. A kill between any two operations leaves one of these stages,
from which the next start goes on. An error sets the repo aside, so that no start fails because of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from meta.config import Config
from meta.errors import HiveError, TransientError
from meta.layout import Layout
from meta.names import AgentName, agent_name
from meta.process.failpoint import hit
from meta.proposed import push_check, push_repo
from meta.proposed.tips import is_branch
from meta.text import command_line, one_line

log = logging.getLogger(__name__)

POINTS = ("take", "copy", "install", "drop", "aside")
"""The operations; the daemon can be killed before and after each (failpoints `push-move-<point>:before`, `:after`)."""

_LOOSE, _HASH = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{38}")
_PACK = re.compile(r"pack-[0-9a-f]{40}\.(pack|idx|rev|bitmap)")
_MOST_FILES = 200_000
_MOST_DEPTH = 16
_SPARSE = 16
"""A file that has less than one part in this of its size on disk is mostly holes."""
_HOLE_FREE = 2**20
_BLOCK = 2**20
_SETID_FOLDER, _OBJECT = 0o2775, 0o444
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Unfit(Exception):
    """A repo that cannot be copied; the text is the reason."""


def move_all(layout: Layout, config: Config) -> None:
    """Move the push repos of an older hive, and finish moves that were cut short. Logs what is set aside."""
    for path in (layout.push_repos, layout.push_moving, layout.push_aside):
        path.mkdir(mode=0o755, exist_ok=True)
    for path in (layout.push_moving, layout.push_aside):
        path.chmod(0o700)
    for agent in _agents(layout.state / "proposed", ""):
        _take(layout, agent)
    for agent in _agents(layout.push_moving, ".git"):
        _finish(layout, agent, config)


def aside(layout: Layout, agent: AgentName) -> tuple[Path, ...]:
    """Return the repos of the agent that were set aside."""
    return tuple(path for path in all_aside(layout) if _agent_of(path) == agent)


def all_aside(layout: Layout) -> tuple[Path, ...]:
    """Return the repos of all agents that were set aside."""
    return tuple(layout.push_aside / name for name in _names(layout.push_aside))


def _agent_of(path: Path) -> str:
    return path.name.rpartition("-")[0]


def aside_line(layout: Layout, path: Path) -> str:
    """Return what an operator should know about a repo that was set aside, with the remedy."""
    return f"{path} is not used: {reason(path)}. {aside_remedy(layout, path)}"


def reason(path: Path) -> str:
    """Return why a repo was set aside."""
    try:
        fault = push_check.fault(path, path.parent.lstat().st_uid)
    except TransientError as error:
        fault = f"hive cannot look at it now: {error.summary}"
    except OSError as error:
        fault = error.strerror
    return one_line(fault or "it could not be copied, or there was another one already", 300)


def aside_remedy(layout: Layout, path: Path) -> str:
    """Return what to do about it."""
    agent = AgentName(_agent_of(path))
    return (
        f"An agent may have written it, so run no git in it: push what you miss to {layout.push_repo(agent)} again "
        f"from your own clone, then remove it ({command_line('rm', '-rf', path)})"
    )


@dataclass(frozen=True, slots=True)
class Planted:
    """Something at the old path of a push repo."""

    text: str
    remedy: str

    @override
    def __str__(self) -> str:
        return f"{self.text}. {self.remedy}"


def planted(layout: Layout, agent: AgentName) -> Planted | None:
    """Return what to report if something lies at the old path, where hive leaves nothing; None if nothing does."""
    old = layout.proposed(agent) / push_repo.OLD_NAME
    if not os.path.lexists(old):
        return None
    return Planted(
        f"{old} is not hive's: an agent may have made it, and its hooks would run as the user who pushes there",
        f"Do not push there but to {layout.push_repo(agent)} (git remote set-url), "
        f"and remove it ({command_line('rm', '-rf', old)})",
    )


# take
def _take(layout: Layout, agent: AgentName) -> None:
    """Take what lies at the old path. The manager may replace each part of that path by a symlink at any moment."""
    with contextlib.ExitStack() as stack:
        try:
            parent = _open(stack, layout.proposed(agent).parent, None)
            parent = _open(stack, agent, parent)
            os.stat(push_repo.OLD_NAME, dir_fd=parent, follow_symlinks=False)
        except OSError:
            return  # nothing there, or not hive's folder: `push_repo.create` and doctor report that
        target = layout.push_moving / f"{agent}.git"
        if os.path.lexists(target) or os.path.lexists(layout.push_repo(agent)):
            target = _free(layout, agent)  # hive has its own already: this one came later
        try:
            hit("push-move-take:before")
            _rename(parent, target)
            os.sync()
            hit("push-move-take:after")
        except OSError as error:
            log.error("%s/%s stays: %s", layout.proposed(agent), push_repo.OLD_NAME, error.strerror)
            return
    if target.parent == layout.push_aside:
        log.warning("%s", aside_line(layout, target))


def _rename(parent: int, target: Path) -> None:
    """Rename what lies at the old path. Without root the manager may have taken the right to do so from its owner."""
    try:
        os.rename(push_repo.OLD_NAME, target, src_dir_fd=parent)
    except PermissionError:
        os.fchmod(parent, 0o755)
        descriptor = os.open(push_repo.OLD_NAME, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            Path(f"/proc/self/fd/{descriptor}").chmod(0o700)
        finally:
            os.close(descriptor)
        os.rename(push_repo.OLD_NAME, target, src_dir_fd=parent)


def _finish(layout: Layout, agent: AgentName, config: Config) -> None:
    """Judge and copy one repo that was taken, unless that was done before a kill; then drop it."""
    taken = layout.push_moving / f"{agent}.git"
    if push_repo.complaint(layout, agent) is None:  # copied before a kill: `take` found none
        _drop(taken)
        return
    scratch = layout.scratch / f"push-{agent}-{secrets.token_hex(4)}"
    try:
        fault = push_check.fault(taken, layout.push_repos.lstat().st_uid)
        if fault is not None:
            raise _Unfit(fault)
        hit("push-move-copy:before")
        layout.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        push_repo.write(scratch, config)
        _copy(taken, scratch)
        os.sync()
        hit("push-move-copy:after")
        hit("push-move-install:before")
        push_repo.install(layout, agent, scratch)
        os.sync()
        hit("push-move-install:after")
    except (_Unfit, OSError, HiveError) as error:
        target = _free(layout, agent)
        hit("push-move-aside:before")
        taken.rename(target)
        hit("push-move-aside:after")
        log.warning("%s: %s (%s)", agent, aside_line(layout, target), error)
        return
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    log.info("moved the push repo of %s to %s", agent, layout.push_repo(agent))
    _drop(taken)


def _drop(taken: Path) -> None:
    hit("push-move-drop:before")
    shutil.rmtree(taken, ignore_errors=True)  # what stays is dropped by the next start
    hit("push-move-drop:after")


def _free(layout: Layout, agent: AgentName) -> Path:
    return layout.push_aside / f"{agent}-{secrets.token_hex(4)}"


# copy
def _copy(source: Path, target: Path) -> None:
    """Copy branches, tags, packed refs and objects into a new repo. Only plain files with names that git gives them."""
    left = _MOST_FILES
    with contextlib.ExitStack() as stack:
        top = _open(stack, source, None)
        objects = _open(stack, "objects", top)
        for name in _names(objects):
            if _LOOSE.fullmatch(name):
                left -= _copy_files(objects, name, target / "objects", _HASH, left)
        _copy_files(objects, "pack", target / "objects", _PACK, left)
        refs = _open(stack, "refs", top)
        for name in ("heads", "tags"):
            _copy_refs(refs, name, target / "refs", name, 0)
        with contextlib.suppress(FileNotFoundError):
            _copy_file(top, "packed-refs", target / "packed-refs", 0o664)


def _copy_files(parent: int, name: str, target: Path, wanted: re.Pattern[str], most: int) -> int:
    """Copy the files of one folder of objects; return how many."""
    copied = 0
    with contextlib.ExitStack() as stack:
        folder = _open(stack, name, parent)
        _make(target / name, folder, target)
        for entry in _names(folder):
            if not wanted.fullmatch(entry):
                continue  # the rest of a push that was cut short
            copied += 1
            if copied > most:
                raise _Unfit(f"it has more than {_MOST_FILES} files")
            _copy_file(folder, entry, target / name / entry, _OBJECT)
    return copied


def _copy_refs(parent: int, name: str, target: Path, ref: str, depth: int) -> None:
    with contextlib.ExitStack() as stack:
        folder = _open(stack, name, parent)
        _make(target / name, folder, target)
        for entry in _names(folder):
            inner = f"{ref}/{entry}"
            if not is_branch(inner.partition("/")[2]) or depth > _MOST_DEPTH:
                continue
            mode = os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                _copy_refs(folder, entry, target / name, inner, depth + 1)
            else:
                _copy_file(folder, entry, target / name / entry, 0o664)


def _make(path: Path, like: int, parent: Path) -> None:
    """Make a folder that the group of its parent may write in, unless the new repo has it already."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    status, above = os.fstat(like), parent.stat()
    _give(path, status.st_uid, above.st_gid)
    path.chmod(_SETID_FOLDER if above.st_mode & 0o020 else 0o755)


def _copy_file(folder: int, name: str, target: Path, mode: int) -> None:
    """Copy a plain file as it is now. It may still grow: only the bytes that it has at first are copied."""
    source = os.open(name, _FILE, dir_fd=folder)
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise _Unfit(f"{name!a} is not a plain file")
        if status.st_size > _HOLE_FREE and status.st_blocks * 512 < status.st_size // _SPARSE:
            raise _Unfit(f"{name!a} is mostly holes")
        with target.open("xb") as sink:
            left = status.st_size
            while left > 0 and (block := os.read(source, min(left, _BLOCK))):
                sink.write(block)
                left -= len(block)
    finally:
        os.close(source)
    above = target.parent.stat()
    _give(target, status.st_uid, above.st_gid)  # the owner of a ref is who pushed it
    target.chmod(mode if above.st_mode & 0o020 else mode & 0o755)


def _give(path: Path, uid: int, gid: int) -> None:
    with contextlib.suppress(PermissionError):  # without root everything is hive's own
        os.chown(path, uid if os.geteuid() == 0 else -1, gid, follow_symlinks=False)


# looking
def _open(stack: contextlib.ExitStack, path: Path | str, parent: int | None) -> int:
    descriptor = os.open(path, _FOLDER, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _names(folder: int | Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def _agents(folder: Path, suffix: str) -> Iterator[AgentName]:
    for name in _names(folder):
        with contextlib.suppress(HiveError):
            if name.endswith(suffix):
                yield agent_name(name.removesuffix(suffix))
