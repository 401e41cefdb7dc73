"""The PATH inside the jail: the folders of the daemon's own PATH that are safe to run programs from.

A unit's PATH names the folders of its programs in the store, and on NixOS git is often in no other place. A folder is
kept if it exists and only root or the daemon's own user can change it, or what leads to it. It is bound read-only,
unless the sandbox has it anyway.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.process import ambient

_ALSO = ("/run/current-system/sw/bin", "/usr/local/bin", "/usr/bin", "/bin")
_INSIDE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix/store")
"""Every sandbox has these directories, read-only."""
_BESIDE = ("lib", "lib64", "libexec")
"""What the programs of a folder `bin` load from its parent: git has most of its programs in `libexec`."""


@dataclass(frozen=True, slots=True)
class Programs:
    """`path` is the PATH inside. `binds` are (path on the host, path inside)."""

    path: str
    binds: tuple[tuple[Path, Path], ...]


def inside(environment: Mapping[str, str]) -> Programs:
    """Return the PATH of a process with this environment as the jail has it."""
    folders: dict[str, None] = {}
    binds: dict[Path, None] = {}
    for name in ambient.search_path(environment).split(os.pathsep):
        folder = Path(os.path.normpath(name)).resolve()
        if _in_every_sandbox(folder):
            folders[str(folder)] = None
        elif folder != Path("/") and _is_safe(folder):
            folders[str(folder)] = None
            binds.update(dict.fromkeys(_with_libraries(folder)))
    folders.update(dict.fromkeys(_ALSO))
    return Programs(os.pathsep.join(folders), tuple((path, path) for path in binds))


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
