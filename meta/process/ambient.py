"""What a process inherits without being asked: descriptors, umask, environment, working directory. Made fixed here.

Standard library and light: every command of the CLI does this first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_REMOVED = ("GIT_", "LD_")
"""Beginnings of variables that lead hive's own git to another repo, configuration, program or library."""
_before: dict[str, str] = {}


def settle() -> None:
    """Open closed standard streams, set the umask, drop GIT_* and LD_*, keep the absolute folders of PATH.

    A program that the person chose, such as an editor, still gets `before()`.
    """
    if not _before:
        _before.update(os.environ)
    _open_streams()
    os.umask(os.umask(0o022) | 0o022)
    for key in [key for key in os.environ if key.startswith(_REMOVED)]:
        del os.environ[key]
    os.environ["PATH"] = search_path(os.environ)


def before() -> Mapping[str, str]:
    """Return the environment as this process got it."""
    return _before or os.environ


def search_path(environment: Mapping[str, str] = os.environ) -> str:
    """Return PATH without folders that depend on the working directory."""
    folders = [one for one in environment.get("PATH", "").split(os.pathsep) if one.startswith("/")]
    return os.pathsep.join(folders) or os.defpath


def _open_streams() -> None:
    """Open /dev/null in place of closed ones: the next file that is opened would become the output."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
