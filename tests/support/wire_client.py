"""A client of a line socket in a process of its own, so that a test can kill it at any moment."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WAIT = 30.0
_PUMP = """
import os, select, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
while True:
    ready, _, _ = select.select([0, sock], [], [])
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            break
        sock.sendall(data)
    if sock in ready:
        data = sock.recv(65536)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
"""

Answer = dict[str, Any]


class Gone(Exception):
    """The connection ended before the answer."""


class WireClient:
    """One connection, held by a process that passes lines on."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PUMP, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._buffer = b""

    def write(self, *requests: object) -> None:
        """Send requests without waiting for answers."""
        data = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except BrokenPipeError as error:
            raise Gone from error

    def read(self) -> Answer:
        """Return the next answer. Raise Gone."""
        deadline = time.monotonic() + WAIT
        while b"\n" not in self._buffer:
            assert select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0], "no answer came"
            data = os.read(self._out, 65536)
            if not data:
                raise Gone
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return dict(json.loads(line))

    def ask(self, **request: object) -> Answer:
        """Send one request and return its answer."""
        self.write(request)
        return self.read()

    def kill(self) -> list[Answer]:
        """Send SIGKILL to the process. Return the answers that had reached it."""
        self._process.kill()
        self._process.wait(WAIT)
        answers = []
        try:
            while True:
                answers.append(self.read())
        except Gone:
            pass
        self.close()
        return answers

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(WAIT)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
