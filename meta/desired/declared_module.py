"""The files of a declared module: one file, or a folder with a default.nix. In the nix store, or root's elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from meta.desired import trusted
from meta.desired.declared_files import MODULE_FILE, MODULE_FOLDER
from meta.errors import BadInput, HiveError
from meta.nix.store import locate

MOST_BYTES = 16 * 2**20
"""Bytes of one agent's module."""
MOST_FILES = 1_000
"""Files and folders of one agent's module."""
_REBUILD = "mend services.hive.agents of the host's configuration, then `nixos-rebuild switch`"


def read(path: Path) -> dict[str, bytes]:
    """Return the files of a module by their path in the agent's repo.

    Raise Refused if others could have written any of them, BadInput if it is no such module.
    """
    if not path.is_absolute():
        raise BadInput(f"the module {path} is no absolute path", _REBUILD)
    try:
        real, status = trusted.resolve(path)
        if stat.S_ISREG(status.st_mode):
            return {MODULE_FILE: _limited(real, MOST_BYTES)}
        if not stat.S_ISDIR(status.st_mode):
            raise BadInput(f"the module {path} is neither a file nor a folder", _REBUILD)
        files = _folder(path, real)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(f"the module {path} does not exist", _REBUILD) from error
    except OSError as error:
        raise BadInput(f"the module {path} cannot be read: {error.strerror}", _REBUILD) from error
    if f"{MODULE_FOLDER}/default.nix" not in files:
        raise BadInput(f"the module {path} is a folder without default.nix", "add it, or give a file")
    return files


def stamp(path: Path) -> object:
    """Return a value that changes whenever a file of the module does. A path in the nix store never does."""
    real = Path(os.path.realpath(path))
    if real.is_relative_to(os.path.realpath(locate(os.environ).store)):
        return real
    try:
        status = real.lstat()
        inside = tuple(_entries(path, real)) if stat.S_ISDIR(status.st_mode) else ()
    except (OSError, HiveError) as error:
        return str(error)
    return tuple(
        (str(one), each.st_ino, each.st_mode, each.st_uid, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
        for one, each in ((real, status), *inside)
    )


def _folder(path: Path, real: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    rest = MOST_BYTES
    for one, status in _entries(path, real):
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise BadInput(f"the module {path} has {one.name}, which is no regular file", "put the file itself there")
        trusted.check(path, one, status)
        if stat.S_ISREG(status.st_mode):
            files[f"{MODULE_FOLDER}/{_name(path, one.relative_to(real))}"] = content = _limited(one, rest)
            rest -= len(content)
    return files


def _entries(path: Path, real: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what is in a folder, sorted. Raise OSError for a folder in it that cannot be read."""
    count = 0
    for folder, folders, names in os.walk(real, onerror=_fail):
        folders.sort()
        for name in sorted((*folders, *names)):
            count += 1  # folders too: each is looked at every few seconds
            if count > MOST_FILES:
                raise BadInput(f"the module {path} has more than {MOST_FILES} files", "give a smaller folder")
            one = Path(folder, name)
            yield one, one.lstat()


def _fail(error: OSError) -> None:
    raise error


def _name(path: Path, inside: Path) -> str:
    try:
        return inside.as_posix().encode().decode()
    except UnicodeError as error:
        raise BadInput(f"the module {path} has a file whose name is not UTF-8", "rename it") from error


def _limited(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BadInput(f"{path} makes the module larger than {MOST_BYTES} bytes", "give a smaller one")
    return content
