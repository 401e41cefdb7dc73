"""Whose a directory is: what another user owns or may replace is not believed.

The directories on the way count, too, since who may write in one can put another thing in its place.
Standard library and light: every command of the CLI does this first.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Refused
from meta.process.privilege import OVERFLOW, privilege

SERVICES = 1000
"""Below are the accounts of the system's services, by the custom of all distributions."""
DYNAMIC = range(61_184, 65_520)
"""The accounts that systemd makes for services with DynamicUser=, and keeps free for services (systemd's UIDS-GIDS)."""
_LINKS = 40


@dataclass(frozen=True, slots=True)
class Trusted:
    """The uids whose things the caller `uid` believes. `foreign` is how a user namespace shows the host's owners."""

    uid: int
    others: frozenset[int] = frozenset({0})
    foreign: int | None = None

    @classmethod
    def caller(cls) -> Trusted:
        """Return those of this process: its own user and root."""
        mine = privilege()
        return cls(mine.uid, foreign=OVERFLOW if mine.namespaced else None)

    def also(self, uid: int) -> Trusted:
        """Return these and `uid`."""
        return Trusted(self.uid, self.others | {uid}, self.foreign)

    def __contains__(self, uid: object) -> bool:
        return uid == self.uid or uid in self.others

    def passes(self, uid: int) -> bool:
        """Return True if a directory on the way may belong to `uid`."""
        return uid in self or uid == self.foreign


def service_of(state: Path, caller: Trusted) -> int | None:
    """Return the system's service account that root gave `state` to: its parents are root's. None if there is none.

    The account cannot be the caller's, or root: those are believed anyway.
    """
    try:
        owner = state.stat().st_uid
    except OSError:
        return None
    if owner in caller or not (owner < SERVICES or owner in DYNAMIC):
        return None
    return owner if not any(_way(state.resolve().parent, Trusted(0, foreign=caller.foreign))) else None


def require_own(path: Path, trusted: Trusted) -> None:
    """Raise Refused if `path`, as far as it exists, or a directory or link on the way belongs to another user.

    Nor may others write in a directory on the way, unless its sticky bit keeps them from replacing what it holds.
    """
    fault = next(_way(path, trusted), None)
    if fault is not None:
        raise Refused(
            f"{fault}, and hive would believe what lies in {path}",
            f"uid {trusted.uid} uses only what is its own or root's: run this as the owner, or choose another --state",
        )


def require_own_entries(folder: Path, trusted: Trusted) -> None:
    """Raise Refused if an entry of `folder` belongs to another user. A folder that is not there has none."""
    for path in _entries(folder):
        require_own_file(path, trusted)


def require_own_tree(top: Path, trusted: Trusted, others: frozenset[str]) -> None:
    """Raise Refused if anything below `top` belongs to another user, except in its folders named `others`.

    Objects of git are not looked at: their names are their checksums, and they configure nothing.
    """
    for folder, folders, names in os.walk(top):
        if folder == str(top):
            folders[:] = [name for name in folders if name not in others]
        for name in (*folders, *names):
            require_own_file(Path(folder, name), trusted)
        folders[:] = [name for name in folders if name != "objects"]


def require_own_file(path: Path, trusted: Trusted) -> None:
    """Raise Refused if `path` itself belongs to another user, or others may write it."""
    try:
        found = path.lstat()
    except OSError:
        return
    fault = _fault(path, found, trusted)
    if fault is None:
        return
    if found.st_uid in trusted:
        raise Refused(fault, "see what it holds, then take that away with chmod o-w")
    raise Refused(fault, "find out who made it, then remove it or give it to hive's user with chown")


def _fault(path: Path, found: os.stat_result, trusted: Trusted) -> str | None:
    if found.st_uid not in trusted:
        return f"{path} belongs to uid {found.st_uid}"
    writable = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if writable and found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
        return f"every user may write {path}"
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / entry.name for entry in os.scandir(folder)]
    except OSError:
        return []


def way(path: Path) -> Iterator[tuple[Path, os.stat_result, bool]]:
    """Yield the parts from / to `path` with their status: a link itself, then where it leads. True with the last part.

    Raise OSError for a part that is missing or cannot be looked at, with ELOOP after 40 links.
    """
    parts = list(reversed(path.absolute().parts[1:]))
    here, links = Path("/"), 0
    yield here, here.lstat(), False
    while parts:
        name = parts.pop()
        if name == "..":
            here = here.parent
            continue
        status = (here / name).lstat()
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            yield here / name, status, False
            target = (here / name).readlink()
            here = Path("/") if target.is_absolute() else here
            parts += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            continue
        here /= name
        yield here, status, not parts


def _way(path: Path, trusted: Trusted) -> Iterator[str]:
    """Yield what is wrong on the way from / to `path`, links followed, and with `path` itself."""
    try:
        for part, status, last in way(path):
            if not stat.S_ISLNK(status.st_mode):
                yield from _folder(part, status, trusted, last=last)
            elif not trusted.passes(status.st_uid):
                yield f"the link {part} belongs to uid {status.st_uid}"
                return
    except OSError as error:
        if error.errno == errno.ELOOP:
            yield f"too many links lead to {path}"


def _folder(path: Path, found: os.stat_result, trusted: Trusted, *, last: bool) -> Iterator[str]:
    owned = found.st_uid in trusted if last else trusted.passes(found.st_uid)
    if not owned:
        yield f"{path} belongs to uid {found.st_uid}"
    elif found.st_mode & stat.S_ISVTX and not last:
        return
    elif found.st_mode & 0o002:
        yield f"every user may write in {path}"
    elif found.st_mode & 0o020 and not _own_group(found.st_gid, trusted):
        yield f"the group {found.st_gid} may write in {path}"


def _own_group(gid: int, trusted: Trusted) -> bool:
    """Return True for root's group, and an ordinary user's primary one: with the umask 002 each user has their own."""
    return gid == 0 or (trusted.uid != 0 and gid == os.getegid())
