"""What the harness and the starter say on a connection: JSON lines, each bounded. Each connection starts one CLI.

harness -> starter   {"argv": [...], "env": {...}, "cwd": "...", "task": ""}, once, behind a byte with three descriptors
                     also "bounds": {...} (harness.scope.bounds) if the kernel is to keep the CLI to them
                     {"signal": 2}
starter -> harness   {"pid": 7, "cgroup": "/system.slice/..."} or {"failed": "ENOENT", "missing": true}
                     or {"refused": "why", "hint": "what helps"}
                     {"code": 0}, negative for a signal

The end of the connection ends the CLI and all that it started. Little is imported here and in harness.starter.program,
because the starter is a process beside each CLI: no dataclasses, no pathlib, no shutil, which take 3 MB.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

ORDER_MOST = 4 * 2**20
"""Bytes of an order. The kernel takes 2 MiB of arguments and variables."""
LINE_MOST = 4096
"""Bytes of every other line."""
ORDER_SECONDS = 10.0
"""Seconds until an order is complete."""
STREAMS = 3
LOGIN = "login"
TARGETS = "targets"
MARK = b"\n"
"""The byte that carries the descriptors."""

Json = dict[str, Any]


class Wrong(ValueError):
    """What the other side sent is not of this protocol."""


class Order(NamedTuple):
    """The start of one CLI, with exactly this environment.

    With `bounds` the kernel keeps it to them. A `task` is none: the starter itself does it, under the CLI's uid,
    with the three streams. LOGIN watches the login of the runtime `argv[0]`, TARGETS says where the paths in `argv`
    lead.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    task: str = ""
    bounds: Json | None = None

    def encode(self) -> bytes:
        """Return the line. Raise ValueError if it is too long, or has what no command line can have."""
        if any(b"\0" in os.fsencode(text) for text in (*self.argv, *self.env, *self.env.values(), self.cwd)):
            raise ValueError("a NUL byte")
        value = {"argv": self.argv, "env": dict(self.env), "cwd": self.cwd, "task": self.task}
        line = encode(value if self.bounds is None else {**value, "bounds": self.bounds})
        if len(line) > ORDER_MOST:
            raise ValueError(f"more than {ORDER_MOST} bytes")
        return line


def decode_order(line: bytes) -> Order:
    """Return the order. Raise Wrong."""
    value = decode(line)
    argv, env, cwd, task = (value.get(key) for key in ("argv", "env", "cwd", "task"))
    if not (isinstance(argv, list) and argv and isinstance(env, dict) and isinstance(cwd, str)):
        raise Wrong("not an order")
    if not all(isinstance(text, str) for text in (*argv, *env.values(), task)):
        raise Wrong("not texts")
    bounds = value.get("bounds")
    if bounds is not None and not isinstance(bounds, dict):  # without any the CLI would be free
        raise Wrong("not bounds")
    return Order(tuple(argv), env, cwd, str(task), bounds)


def encode(value: Json) -> bytes:
    """Return a line."""
    return json.dumps(value).encode("ascii") + b"\n"


def decode(line: bytes) -> Json:
    """Return the object of a line. Raise Wrong."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Wrong("not JSON") from error
    if not isinstance(value, dict):
        raise Wrong("not an object")
    return value


def receive_order(connection: socket.socket, seconds: float = ORDER_SECONDS) -> tuple[Order, list[int]]:
    """Wait for an order and its three descriptors. Raise Wrong or OSError; then no descriptor is left open."""
    deadline = time.monotonic() + seconds
    _wait(connection, deadline)
    mark, fds, flags, _ = socket.recv_fds(connection, 1, STREAMS)
    try:
        if mark != MARK or len(fds) != STREAMS or flags & socket.MSG_CTRUNC:
            raise Wrong("not three descriptors")
        data = bytearray()
        while not data.endswith(b"\n"):
            _wait(connection, deadline)
            part = connection.recv(65536)
            data += part
            if not part or len(data) > ORDER_MOST or b"\n" in part[:-1]:
                raise Wrong("not one line")
        return decode_order(bytes(data)), fds
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _wait(connection: socket.socket, deadline: float) -> None:
    if not select.select([connection], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise Wrong("too late")
