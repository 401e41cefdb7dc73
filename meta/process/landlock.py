"""Landlock: the kernel keeps a thread, and all that it starts, to the paths that were granted to it.

A restriction is of one thread, is never lifted, and goes to every process that the thread starts. It only allows: what
is granted at a folder is granted for everything beneath. Files that are open already stay so, and Landlock knows
nothing of modes, owners, times and attributes of files, nor of sockets with a name.

    ABI 1   reading, writing, executing, entries of folders; links and renames from folder to folder are always refused
    ABI 2   REFER: these are possible between folders that grant it. The kernel refuses one by which a file would get
            more rights than it had, so no link into a writable folder opens what may only be read
    ABI 3   TRUNCATE: until then truncate(2) empties any file that the owner may write
    ABI 5   IOCTL_DEV: until then a device that is open takes every ioctl
    ABI 6   SCOPE_SIGNAL: until then a signal reaches every process of the same user

Only the standard library is imported here, and little of it: a small process can use it too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from typing import NamedTuple

HOLDS = 3
"""The first ABI that keeps a program from changing files that were not granted."""

REPLACED = "a link was put in its place"
"""The text of the OSError for a granted path that now leads somewhere else."""

READ, CHANGE, FILES, WRITE = "read", "change", "files", "write"
"""What may be done at a path and beneath it: read and execute; also change the files that are there; also make and
remove files; also make and remove folders."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_SYM = (1 << bit for bit in (7, 8, 9, 10, 12))
_REFER, _TRUNCATE, _IOCTL_DEV = (1 << bit for bit in (13, 14, 15))
_SINCE = ((1, (1 << 13) - 1), (2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV))
"""The rights that an ABI added. Those of ABI 1 include devices as new entries, which are never granted."""
RIGHTS = {READ: _EXECUTE | _READ_FILE | _READ_DIR}
RIGHTS[CHANGE] = RIGHTS[READ] | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
RIGHTS[FILES] = RIGHTS[CHANGE] | _REMOVE_FILE | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM | _REFER
RIGHTS[WRITE] = RIGHTS[FILES] | _MAKE_DIR | _REMOVE_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_SCOPES_SINCE = 6
_SCOPE_SIGNAL = 1 << 1
"""A signal reaches only what the same restriction, or one within it, holds."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38  # PR_SET_NO_NEW_PRIVS
_LIBC = ctypes.CDLL(None, use_errno=True)


class Grant(NamedTuple):
    """What may be done at a canonical path: READ, CHANGE, FILES or WRITE; beneath it too if it is a folder.

    `file`: a folder at the path is as good as nothing. `optional`: it is left out if there is nothing at the path.
    Otherwise that is an error.
    """

    path: str
    right: str
    optional: bool = False
    file: bool = False


Grants = tuple[Grant, ...]
"""All that may be done. None of it: nothing at all, not even to start a program."""


def abi() -> int:
    """Return the version of this kernel's Landlock; 0 if there is none, or it is switched off or filtered."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))))


def held_by(version: int, *, soft: bool = False) -> str:
    """Return what holds a scope under Landlock of this ABI, in words; 0: there is none."""
    if version >= HOLDS:
        return f"Landlock, ABI {version}"
    lacks = "this kernel has no Landlock" if version == 0 else f"Landlock of ABI {version} does not hold truncate(2)"
    return f"{'NOT HELD' if soft else 'refused'}: {lacks}"


def restrict_thread(grants: Iterable[Grant]) -> None:
    """Keep the calling thread to the grants, and all that it starts from now on. No privilege comes to it any more.

    Raise OSError with the path of a grant that is missing, or that is now somewhere else than its name says.
    """
    version = abi()
    handled = 0
    for since, rights in _SINCE:
        handled |= rights if since <= version else 0
    ruleset = struct.pack("=Q", handled)
    if version >= _SCOPES_SINCE:
        ruleset = struct.pack("=QQQ", handled, 0, _SCOPE_SIGNAL)  # the second: rights to use ports, none is handled
    rules = _call(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint32(0))
    try:
        for grant in grants:
            _add(rules, grant, handled)
        if _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise _failure("no_new_privs")
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _add(rules: int, grant: Grant, handled: int) -> None:
    try:
        folder_or_file = os.open(grant.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        if grant.optional:
            return
        raise
    try:
        mode = os.fstat(folder_or_file).st_mode
        if grant.file and stat.S_ISDIR(mode):
            if grant.optional:
                return
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), grant.path)
        # a symlink anywhere in the path, put there after it was checked, would grant what it points at
        if stat.S_ISLNK(mode) or _name(folder_or_file) != grant.path:
            raise FileNotFoundError(errno.ENOENT, REPLACED, grant.path)
        allowed = RIGHTS[grant.right] & handled & (-1 if stat.S_ISDIR(mode) else _OF_A_FILE)
        rule = struct.pack("=Qi", allowed, folder_or_file)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(folder_or_file)


def _name(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - without pathlib


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _failure("Landlock")
    return result


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
