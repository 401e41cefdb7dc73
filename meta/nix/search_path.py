"""The PATH inside the jail: the folders of the daemon's own PATH that are safe to run programs from.

A unit's PATH names the folders of its programs in the store, and on NixOS git is often in no other place. A folder is
kept if it holds a program, and only root or the daemon's own user can change it, or what leads to it. It is bound
read-only, unless the sandbox has it anyway. A folder of a person, of the system or of hive's state is not kept: an
evaluation would read everything in it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.process import ambient

_ALSO = ("/run/current-system/sw/bin", "/usr/local/bin", "/usr/bin", "/bin")
_INSIDE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store")
"""Every sandbox has these directories, read-only."""
_PRIVATE = tuple(map(Path, ("/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/var")))
_BESIDE = ("lib", "lib64", "libexec")
"""What the programs of a folder `bin` load from its parent: git has most of its programs in `libexec`."""


@dataclass(frozen=True, slots=True)
class Programs:
    """`path` is the PATH inside. `binds` are (path on the host, path inside)."""

    path: str
    binds: tuple[tuple[Path, Path], ...]


def inside(environment: Mapping[str, str], state: Path | None = None) -> Programs:
    """Return the PATH of a process with this environment as the jail has it. `state` is hive's state directory."""
    private = _private(state)
    folders: dict[str, None] = {}
    binds: dict[Path, None] = {}
    for name in ambient.search_path(environment).split(os.pathsep):
        folder = Path(os.path.normpath(name)).resolve()
        if _in_every_sandbox(folder):
            folders[str(folder)] = None
        elif _is_apart(folder, private) and _is_safe(folder) and _has_program(folder):
            folders[str(folder)] = None
            binds.update(dict.fromkeys(path for path in _with_libraries(folder) if _is_apart(path, private)))
    folders.update(dict.fromkeys(_ALSO))
    return Programs(os.pathsep.join(folders), tuple((path, path) for path in binds))


def _private(state: Path | None) -> tuple[Path, ...]:
    """Return the directories of which the jail binds nothing."""
    own = [state.resolve()] if state is not None else []
    with contextlib.suppress(KeyError):  # a uid without a name
        home = Path(pwd.getpwuid(os.geteuid()).pw_dir).resolve()
        own += [home] if home != Path("/") else []
    return (*_PRIVATE, *own)


def _is_apart(folder: Path, private: Iterable[Path]) -> bool:
    """Return True if `folder` neither lies in one of `private` nor contains one."""
    return not any(folder.is_relative_to(path) or path.is_relative_to(folder) for path in private)


def _has_program(folder: Path) -> bool:
    try:
        return any(path.is_file() and os.access(path, os.X_OK) for path in folder.iterdir())
    except OSError:
        return False


def _with_libraries(folder: Path) -> Iterator[Path]:
    yield folder
    if folder.name == "bin":
        yield from (path for name in _BESIDE if _is_safe(path := folder.with_name(name)))


def _in_every_sandbox(folder: Path) -> bool:
    return any(folder.is_relative_to(top) for top in _INSIDE)


def _is_safe(folder: Path) -> bool:
    """Return True if it is a directory, not a link, that no other user can change, nor replace through a parent."""
    try:
        states = [path.lstat() for path in (folder, *folder.parents)]
    except OSError:
        return False
    return (
        stat.S_ISDIR(states[0].st_mode)
        and _is_closed(states[0])
        and all(_is_closed(state) or state.st_mode & stat.S_ISVTX for state in states[1:])
        and all(state.st_uid in (0, os.geteuid()) for state in states)
    )


def _is_closed(state: os.stat_result) -> bool:
    """Return True if at most the daemon's own group, or root's, may write it."""
    own_group = state.st_gid in (0, os.getegid())
    return not state.st_mode & (stat.S_IWOTH if own_group else stat.S_IWOTH | stat.S_IWGRP)
