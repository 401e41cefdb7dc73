"""Start one program. Only the standard library is imported here: a small process can use it too."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from meta.process.landlock import Grants, restrict_thread

Started = subprocess.Popen[bytes]
"""A program that was started."""

PIPES = (subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
"""The `streams` of a program that the caller writes to and reads from."""


NOTHING = subprocess.DEVNULL
"""A stream of a program that reads nothing there, or whose output is dropped."""


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    streams: tuple[int, int, int],
    fds: Sequence[int] = (),
    grants: Grants | None = None,
) -> Started:
    """Start a program as the leader of a session of its own. Raise OSError, or ValueError for a NUL.

    With `grants` the kernel keeps it and all that it starts to these paths (meta.process.landlock).
    """
    stdin, stdout, stderr = streams

    def start() -> Started:
        return subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=fds, start_new_session=True
        )

    return start() if grants is None else _restricted(grants, start)


def _restricted(grants: Grants, start: Callable[[], Started]) -> Started:
    """Start it from a thread that restricts itself and ends: credentials are per thread, so this process stays free.

    A program that asks for a signal at its parent's death (PR_SET_PDEATHSIG) would get it at the end of the thread.
    """
    results: list[Started] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            restrict_thread(grants)
            results.append(start())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="landlock")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
