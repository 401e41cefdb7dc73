"""Files of reminders below an agent's /state/reminders. They belong to the agent. No link of the agent is followed.

The agent owns everything below /state. So every component is opened from its parent's descriptor, without following a
symlink. The file is always a new one: hive writes to no file that exists.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from meta.errors import BadInput, Conflict, Refused, TransientError
from meta.wire.limits import FILE_PATH_MOST

FOLDER = "reminders"
INSIDE = f"/state/{FOLDER}"
"""The folder as the agent sees it."""
_DEPTH = 8
_NAME_BYTES = 200
_TRIES = 100
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotWritable(Refused):
    """hive cannot write into this agent's /state on this host."""


def parts_of(file_path: str) -> tuple[str, ...]:
    """Return the components of a path that an agent gave, below /state/reminders.

    Absolute paths must begin with /state/reminders/, relative ones are taken from there. Raise BadInput for a path that
    leads elsewhere.
    """
    inside = file_path.removeprefix(f"{INSIDE}/") if file_path.startswith("/") else file_path
    parts = tuple(inside.split("/"))
    fault = _fault(inside, parts)
    if fault:
        raise BadInput(f"{file_path[:200]!r} is not a path for a reminder: {fault}", f"name a file below {INSIDE}/")
    return parts


def _fault(inside: str, parts: tuple[str, ...]) -> str:
    if len(inside) > FILE_PATH_MOST:
        return f"it has {len(inside)} characters, the limit is {FILE_PATH_MOST}"
    if inside.startswith("/"):
        return "it lies elsewhere"
    if len(parts) > _DEPTH:
        return f"it is deeper than {_DEPTH} directories"
    for part in parts:
        if part in ("", ".", ".."):
            return f"it has the component {part!r}"
        if not part.isprintable():
            return "it has characters that cannot be shown"
        if len(part.encode()) > _NAME_BYTES:
            return f"a component is longer than {_NAME_BYTES} bytes"
    return ""


def write(state: Path, parts: tuple[str, ...] | None, text: str, now: int) -> tuple[str, ...]:
    """Write `text` into a new file below `state`/reminders and return its components.

    Without components the name is `auto-<now>.md`. File and directories belong to the owner of `state`, the agent.
    Raise Conflict if the named file exists already, NotWritable if hive may not write there, Refused if a component is
    not a directory.
    """
    wanted = [parts] if parts is not None else _automatic(now)
    for last, candidate in enumerate(wanted, 1):
        try:
            _write(state, candidate, text.encode())
        except FileExistsError as error:
            if parts is None and last < len(wanted):
                continue
            where = "/".join((INSIDE, *candidate))
            raise Conflict(f"there is a file {where} already", "name another one; hive overwrites none") from error
        except PermissionError as error:
            raise NotWritable(
                f"hive cannot write below {INSIDE} of this agent: {error.strerror}",
                "leave file_path out, or write the file yourself and name it in the message",
            ) from error
        except OSError as error:
            raise _meaning(error, candidate) from error
        else:
            return candidate
    raise TransientError(f"there is no free name for a file in {INSIDE}", "give a file_path")


def remove(state: Path, parts: tuple[str, ...]) -> None:
    """Remove a file that was just written, if possible."""
    with contextlib.suppress(OSError), _directory(state, parts[:-1], make=False) as (folder, _):
        os.unlink(parts[-1], dir_fd=folder)


def _automatic(now: int) -> list[tuple[str, ...]]:
    return [(f"auto-{now}.md",), *((f"auto-{now}-{number}.md",) for number in range(2, _TRIES))]


def _write(state: Path, parts: tuple[str, ...], content: bytes) -> None:
    with _directory(state, parts[:-1], make=True) as (folder, owner):
        fd = os.open(parts[-1], _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                _give(fd, owner)
                file.write(content)
                file.flush()
                os.fsync(fd)
            os.fsync(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(parts[-1], dir_fd=folder)
            raise


@contextlib.contextmanager
def _directory(state: Path, parts: tuple[str, ...], *, make: bool) -> Iterator[tuple[int, os.stat_result]]:
    """Open `state`/reminders/`parts`. Yield its descriptor and the status of `state`.

    `make`: make the missing directories.
    """
    with contextlib.ExitStack() as stack:
        fd = os.open(state, _OPEN)
        stack.callback(os.close, fd)
        owner = os.fstat(fd)
        for part in (FOLDER, *parts):
            is_new = make and _make(part, fd)
            fd = os.open(part, _OPEN, dir_fd=fd)
            stack.callback(os.close, fd)
            if is_new:
                _give(fd, owner)
        yield fd, owner


def _make(part: str, parent: int) -> bool:
    try:
        os.mkdir(part, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def _give(fd: int, owner: os.stat_result) -> None:
    """Give a file to the owner of /state, which is the agent."""
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (owner.st_uid, owner.st_gid):
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _meaning(error: OSError, parts: tuple[str, ...]) -> Exception:
    where = "/".join((INSIDE, *parts))
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Refused(
            f"hive does not write {where}: a part of the path is not a directory", "hive follows no links there"
        )
    if error.errno == errno.ENOENT:
        return TransientError(f"the directory of {where} does not exist", "try again once the agent has run")
    return TransientError(f"cannot write {where}: {error.strerror}", "check whether the disk is full")
