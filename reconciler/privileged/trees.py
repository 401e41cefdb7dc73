"""A directory tree that root gives away as a whole, after a look at all of it.

The look changes nothing. It finds every entry that must not be given, and counts the names of each file that has more
than one. A file with a name outside the tree is not given: that name may be in a place of another user.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meta.errors import Refused, TransientError
from reconciler.privileged.directories import inner

_DEPTH = 100
_ENTRIES = 20_000_000
_SHOWN = 8
"""Entries that an error names."""
_COPY = "tmp_obj_hive_"
"""The prefix of a copy that is not in its place yet; git removes files with such names by itself."""
_CHUNK = 1 << 20

Owners = Callable[[int, int], tuple[int, int] | None]
"""Returns the new uid and gid of an entry, the present ones if it stays as it is, None if it must not be given."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How trees are given. `special`: sockets and pipes are given too. `mode`: the new mode of each top."""

    owners: Owners
    special: bool = False
    mode: int | None = None

    def settled(self, status: os.stat_result) -> bool:
        """Return True if the entry stays as it is. Symlinks always do."""
        owner = status.st_uid, status.st_gid
        return stat.S_ISLNK(status.st_mode) or self.owners(*owner) == owner

    def fault(self, status: os.stat_result) -> str:
        """Return why an entry that is not settled must not be given; "" if it may."""
        if self.owners(status.st_uid, status.st_gid) is None:
            return f"of uid {status.st_uid}, gid {status.st_gid}"
        mode = status.st_mode
        plain = stat.S_ISDIR(mode) or stat.S_ISREG(mode)
        special = self.special and (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode))
        return "" if plain or special else "no plain file"


@dataclass(frozen=True, slots=True)
class Tree:
    """An open directory and its path. `apart`: a file with more names is replaced by a copy that has only this one."""

    fd: int
    where: str
    apart: bool = False


_Key = tuple[int, int]


@dataclass(slots=True)
class _Found:
    """The result of a look. `names`: how many names each file with more than one has. `linked`: those to be given."""

    names: dict[_Key, int] = field(default_factory=dict)
    linked: dict[_Key, tuple[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    entries: int = 0


def give(trees: Sequence[Tree], rules: Rules) -> None:
    """Give the trees and all that is in them. Before that, raise Refused with the entries that must not be given.

    A directory changes its owner after its content did. One that has its new owner already is only looked at, so that
    this owner cannot mislead root. The trees count as one: a file may have one of its names in another of them.
    """
    pending = [tree for tree in trees if not rules.settled(os.fstat(tree.fd))]
    if not pending:
        return
    found = _Found()
    try:
        for tree in trees:
            _look(tree.fd, tree.where, rules, found, judged=True)
        _refuse_faults(found)
        for tree in pending:
            _give_directory(tree, rules, found)
    except OSError as error:
        raise TransientError(f"cannot give {trees[0].where} to another user: {error}") from error


def _refuse_faults(found: _Found) -> None:
    elsewhere = (path for key, (path, count) in found.linked.items() if found.names[key] != count)
    faults = sorted([*found.faults, *(f"{path} (a hard link with a name elsewhere)" for path in elsewhere)])
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise Refused(
            f"hive cannot give these to another user: {', '.join(faults[:_SHOWN])}{more}", "move them away by hand"
        )


def _look(fd: int, where: str, rules: Rules, found: _Found, *, judged: bool, depth: int = 0) -> None:
    """Look at a directory. `judged`: faults in it count, since no directory above it has its new owner."""
    status = os.fstat(fd)
    judged = judged and not rules.settled(status)
    if judged and (fault := rules.fault(status)):
        found.faults.append(f"{where} ({fault})")
    for name in os.listdir(fd):
        found.entries += 1
        if found.entries > _ENTRIES:
            raise Refused(f"{where} is in a tree of more than {_ENTRIES} entries", "move a part of it away by hand")
        status, path = os.stat(name, dir_fd=fd, follow_symlinks=False), f"{where}/{name}"
        if not stat.S_ISDIR(status.st_mode):
            _look_at_file(status, path, rules, found, judged=judged)
        elif depth >= _DEPTH:
            found.faults += [f"{path} (deeper than {_DEPTH} directories)"] if judged else []
        else:
            with contextlib.ExitStack() as stack:
                try:
                    directory = stack.enter_context(inner(name, fd, path))
                except Refused as error:
                    found.faults += [error.summary] if judged else []
                    continue
                _look(directory, path, rules, found, judged=judged, depth=depth + 1)


def _look_at_file(status: os.stat_result, path: str, rules: Rules, found: _Found, *, judged: bool) -> None:
    key = status.st_dev, status.st_ino
    if status.st_nlink > 1:
        found.names[key] = found.names.get(key, 0) + 1
    if not judged or rules.settled(status):
        return
    if fault := rules.fault(status):
        found.faults.append(f"{path} ({fault})")
    elif status.st_nlink > 1:
        found.linked[key] = path, status.st_nlink


def _give_directory(tree: Tree, rules: Rules, found: _Found, *, top: bool = True) -> None:
    status = os.fstat(tree.fd)
    if rules.settled(status):
        return
    owner = _checked(status, tree.where, rules, found)
    for name in os.listdir(tree.fd):  # noqa: PTH208 - by its descriptor, not by a path
        entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree.fd)
        try:
            _give_entry(entry, name, tree, rules, found)
        finally:
            os.close(entry)
    os.fchmod(tree.fd, 0o700)  # never open to the new owner's group under the old mode
    os.fchown(tree.fd, *owner)
    os.fchmod(tree.fd, rules.mode if top and rules.mode is not None else stat.S_IMODE(status.st_mode))


def _give_entry(entry: int, name: str, tree: Tree, rules: Rules, found: _Found) -> None:
    status, where = os.fstat(entry), f"{tree.where}/{name}"
    if rules.settled(status):
        return
    if stat.S_ISDIR(status.st_mode):
        with inner(name, tree.fd, where) as fd:
            _give_directory(Tree(fd, where, tree.apart), rules, found, top=False)
        return
    owner = _checked(status, where, rules, found)
    if status.st_nlink > 1 and tree.apart:
        _replace_by_copy(entry, name, tree.fd, owner)
        found.names[status.st_dev, status.st_ino] -= 1
    else:
        os.chown(f"/proc/self/fd/{entry}", *owner)  # exactly the file that was checked


def _checked(status: os.stat_result, where: str, rules: Rules, found: _Found) -> tuple[int, int]:
    """Return the new owner. Raise Refused if the entry was changed since the look."""
    owner = rules.owners(status.st_uid, status.st_gid)
    linked = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
    names = found.names.get((status.st_dev, status.st_ino)) if linked else status.st_nlink
    if owner is None or rules.fault(status) or names != status.st_nlink:
        raise Refused(f"{where} was changed while hive looked at its tree", "stop what changes it, and try again")
    return owner


def _replace_by_copy(entry: int, name: str, parent: int, owner: tuple[int, int]) -> None:
    status = os.fstat(entry)
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{name} has two names and is no regular file", "move it away by hand")
    temporary = f"{_COPY}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    source = os.open(f"/proc/self/fd/{entry}", os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(source, "rb") as old, os.fdopen(os.open(temporary, flags, 0o600, dir_fd=parent), "wb") as new:
        while chunk := old.read(_CHUNK):
            new.write(chunk)
        new.flush()
        os.fchown(new.fileno(), *owner)
        os.fchmod(new.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
        os.fsync(new.fileno())
    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
