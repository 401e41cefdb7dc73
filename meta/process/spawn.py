"""Start one program. Only the standard library is imported here: a small process can use it too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

Started = subprocess.Popen[bytes]
"""A program that was started."""

PIPES = (subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
"""The `streams` of a program that the caller writes to and reads from."""


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    streams: tuple[int, int, int],
    fds: Sequence[int] = (),
) -> Started:
    """Start a program as the leader of a session of its own. Raise OSError, or ValueError for a NUL."""
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=fds, start_new_session=True
    )
