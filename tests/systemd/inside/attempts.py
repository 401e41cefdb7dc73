"""Attempts to get out: small Python programs that say how each of their attempts ended, wherever they are run.

The same program runs in a container, where it must fail, and on the host as its control, where it must not.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.systemd.inside.entered import SECONDS, Inside, User

DONE = "done"
"""What an attempt says that succeeded; one that failed says the name of its errno."""

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
_BEGIN = """
import ctypes, errno, json, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
words, said = sys.argv[1:], {}

def attempt(name, call, *arguments):
    try:
        call(*arguments)
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error))

def c(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)

def write(path, text="planted"):
    with open(path, "w") as file:
        file.write(text)

"""
_END = "\nprint(json.dumps(said))\n"


def inside(container: Inside, user: User, code: str, *words: str) -> dict[str, str]:
    """What the attempts of `code` said in the container; `words` are its `words`."""
    return _said(container.python(_BEGIN + code + _END, *words, user=user))


def outside(code: str, *words: str, uid: int = 0) -> dict[str, str]:
    """What they said on the host under that uid and gid."""
    done = subprocess.run(
        [*PYTHON, _BEGIN + code + _END, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd="/",
        user=uid,
        group=uid,
        extra_groups=[],
    )
    assert done.returncode == 0, done.stderr
    return _said(done.stdout)


def _said(output: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(output.splitlines()[-1])
    assert found, "nothing was tried"
    return found


def succeeded(said: Mapping[str, str]) -> list[str]:
    """The names of the attempts that did not fail."""
    return [name for name, how in said.items() if how == DONE]


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything below `top`, without following symlinks: type and mode, owner, and what it holds."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(top):
        for name in (".", *folders, *files):
            path = Path(folder) / name
            seen = path.lstat()
            held = path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
            held = str(path.readlink()).encode() if stat.S_ISLNK(seen.st_mode) else held
            found[str(path)] = (seen.st_mode, seen.st_uid, seen.st_gid, hashlib.sha256(held).hexdigest())
    return found
