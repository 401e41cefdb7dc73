"""Argument lists: find the program, set its limits, shorten the list for a message."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from meta.errors import PermanentError

_PACKAGES = {
    "git": "git",
    "bwrap": "bubblewrap",
    "nix": "nix-bin",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
}
_OPTIONS = {
    resource.RLIMIT_AS: "as",
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_CPU: "cpu",
    resource.RLIMIT_DATA: "data",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_NPROC: "nproc",
}


def resolve(argv: Sequence[str], path: str) -> tuple[str, ...]:
    """Return `argv` with the program's full path. Raise PermanentError, with the package, if it is not on `path`."""
    program = shutil.which(argv[0], path=path)
    if program is not None:
        return (program, *argv[1:])
    if "/" in argv[0] and Path(argv[0]).is_file():
        raise PermanentError(f"the file {argv[0]} is not executable", "make it executable, or name another program")
    raise not_installed(argv[0])


def not_installed(program: str) -> PermanentError:
    """Return the error of a program that is not on the path, with the package that has it."""
    name = Path(program).name
    package = _PACKAGES.get(name)
    hint = f"on Debian: apt-get install {package}" if package else f"install {name}, or put it on PATH"
    return PermanentError(f"the program {program} is not installed", hint)


def limit(argv: tuple[str, ...], limits: Mapping[int, int], path: str) -> tuple[str, ...]:
    """Return `argv` under prlimit, which sets `limits` (RLIMIT_* to value) and then executes it."""
    if not limits:
        return argv
    # not with preexec_fn: code that runs in a forked child of a threaded process can deadlock
    options = tuple(f"--{_OPTIONS[which]}={value}" for which, value in limits.items())
    return resolve(("prlimit", *options, "--", *argv), path)


def shorten(argv: Sequence[str]) -> str:
    """Return `argv` as text for a message, at most 120 characters."""
    text = " ".join(argv)
    return text if len(text) <= 120 else f"{text[:117]}..."
