"""`hive-harness owners`: whose is what in /state, set by the container's root before each start of the harness.

    .hive      what the harness keeps: its own, and closed to the CLI
    work       where the CLI runs: the CLI's
    notes.md   the CLI's, and the harness reads it
    the rest   the CLI's, untouched

With two uids /state belongs to root and has the sticky bit: the CLI makes, changes and removes its own files there, and
no others. With one uid it belongs to that one.

An older /state has the harness's files beside the agent's. They are moved once, by name: before the first start under
two uids the agent could write them too, afterwards a file of that name in /state is the agent's and means nothing.
No symlink is followed, nothing is done by a path that the agent can change, and nothing that the agent made is entered.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OWN = ".hive"
"""The folder in /state of what the harness keeps."""
WORK = "work"
NOTES = "notes.md"
KEPT = (
    "hyperhive-events.sqlite",
    "hyperhive-events.sqlite-wal",
    "hyperhive-events.sqlite-shm",
    "hyperhive-model",
    "hyperhive-paused",
    "hyperhive-session.json",
)
"""The names of the harness's files."""

DIVIDED = 0o3770
"""The mode of /state with two uids: sticky, and new files have the group of both."""

_NEW = ".hive.new"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Owners:
    """The uid of the harness, uid and gid of the CLI's user, and the group in which both are."""

    harness: int
    cli: int
    cli_group: int
    shared: int

    @property
    def apart(self) -> bool:
        """Return True if the CLI has another uid than the harness."""
        return self.harness != self.cli


def main(words: list[str]) -> int:
    """Set the owners in the folder `words[0]` for these users and this group; return the exit code."""
    import grp
    import pwd

    try:
        state, harness, cli, group = words
        user = pwd.getpwnam(cli)
        owners = Owners(pwd.getpwnam(harness).pw_uid, user.pw_uid, user.pw_gid, grp.getgrnam(group).gr_gid)
        set_owners(Path(state), owners)
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"hive-harness owners: {error}\n")
        return 1
    return 0


def set_owners(state: Path, owners: Owners) -> None:
    """Set the owners of `state` and of what hive has in it. Raise OSError."""
    with _opened(state, None) as folder:
        divided = os.fstat(folder).st_mode & stat.S_ISVTX != 0
        if owners.apart:  # from here on no other user changes a name of root's or the harness's
            _set(folder, 0, owners.shared, DIVIDED)
        _keep(folder, owners, divided=divided)
        if owners.apart:
            _make_work(folder, owners)
            _show_notes(folder, owners)
        else:
            _set(folder, owners.cli, owners.cli_group, 0o700)


def _keep(folder: int, owners: Owners, *, divided: bool) -> None:
    """Make `.hive` the harness's. A missing one is made of what an older harness left, all or nothing.

    One that belongs to the CLI is of a start with one uid, but not in a state that was `divided` until now.
    """
    if not _is_folder(OWN, folder) or (divided and _owner(OWN, folder) == owners.cli):
        _set_aside(OWN, folder)
        if not _is_folder(_NEW, folder) or _owner(_NEW, folder) != 0:
            _set_aside(_NEW, folder)
            os.mkdir(_NEW, 0o700, dir_fd=folder)
        with _opened(_NEW, folder) as new:
            for name in KEPT:
                if _is_plain(name, folder):
                    os.rename(name, name, src_dir_fd=folder, dst_dir_fd=new)
            os.fsync(new)
        os.rename(_NEW, OWN, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    with _opened(OWN, folder) as own:
        _set(own, owners.harness, -1, 0o700)
        for name in os.listdir(own):  # noqa: PTH208 - by its descriptor, not by a path
            if name.startswith("hyperhive-") and _is_plain(name, own):
                _give(name, own, owners.harness, -1, 0o600)


def _make_work(folder: int, owners: Owners) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(WORK, 0o700, dir_fd=folder)
    with contextlib.suppress(NotADirectoryError), _opened(WORK, folder) as work:
        if os.fstat(work).st_uid == 0:
            os.fchown(work, owners.cli, owners.cli_group)


def _show_notes(folder: int, owners: Owners) -> None:
    if _is_plain(NOTES, folder, owners.cli):
        _give(NOTES, folder, -1, owners.shared, 0o640)


def _give(name: str, folder: int, uid: int, gid: int, mode: int) -> None:
    """Set owner, group and mode of a file that is still a plain one once it is open."""
    with _opened(name, folder, _FILE) as file:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            _set(file, uid, gid, mode)


def _set(descriptor: int, uid: int, gid: int, mode: int) -> None:
    """Set owner, group and mode, -1 for none. What is so already is not written: the file system may be read-only."""
    status = os.fstat(descriptor)
    if uid not in (-1, status.st_uid) or gid not in (-1, status.st_gid):
        os.fchown(descriptor, uid, gid)
        status = os.fstat(descriptor)  # it may have cleared bits of the mode
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)


def _owner(name: str, folder: int) -> int:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid


def _is_plain(name: str, folder: int, owner: int | None = None) -> bool:
    """Return True for a regular file with one name, of `owner` if given."""
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and owner in (None, status.st_uid)
    return False


def _is_folder(name: str, folder: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _set_aside(name: str, folder: int) -> None:
    """Rename what is at `name` to the first free `<name>.aside-<number>`."""
    for number in range(1, 1000):
        aside = f"{name}.aside-{number}"
        try:
            os.stat(aside, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            return
    raise FileExistsError(f"{name} is not hive's, and there is no free name for it")


@contextlib.contextmanager
def _opened(path: str | Path, folder: int | None, flags: int = _FOLDER) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
