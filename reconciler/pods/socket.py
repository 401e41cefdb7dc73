"""The socket of a pod, found without trust: the folder and the sockets in it are the agent's."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.names import AgentName

SOCKET = "pod.sock"
"""The socket of the agent's own pod. That of a sub-agent has its name in place of OWN, which none has."""
OWN = "pod"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def pod_name(text: str) -> str:
    """Return the name of a pod. Raise BadInput if it is none."""
    if not _NAME.fullmatch(text):
        raise BadInput(
            f"{text[:40]!r} is not the name of a pod",
            "letters, digits and . _ -, at most 64; see `hive pod list AGENT`",
        )
    return text


@contextmanager
def reached(folder: Path, agent: AgentName, pod: str) -> Iterator[str]:
    """Give a path that leads to the socket of a pod while the block runs, and nowhere else.

    The agent can replace what is in `folder` at any time, by a symlink as well. So the socket itself is held open, and
    the path names what is held. Raise NotFound, Conflict (it is no socket), Refused (no permission).
    """
    file = SOCKET if pod == agent else f"{pod_name(pod)}{Path(SOCKET).suffix}"
    if pod != agent and pod == OWN:
        raise NotFound(f"{agent} has no sub-agent {pod}", f"`hive pod list {agent}` has its pods")
    try:
        inside = os.open(folder, _LOOK | os.O_DIRECTORY)
        try:
            held = os.open(file, _LOOK, dir_fd=inside)
        finally:
            os.close(inside)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{agent} has no pod {pod} that runs", f"`hive pod list {agent}` has its pods") from error
    except PermissionError as error:
        raise Refused(f"hive may not open the sockets of {agent}'s pods", f"look at {folder}") from error
    try:
        if not stat.S_ISSOCK(os.fstat(held).st_mode):
            raise Conflict(f"{agent}: what is in the place of the socket of {pod} is none", f"`hive restart {agent}`")
        yield f"/proc/self/fd/{held}"
    finally:
        os.close(held)
