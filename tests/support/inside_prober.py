"""A program in an agent's sandbox that does what a test says: one line of JSON with code in, one with its result out.

It is passed to the sandbox's Python as text. The code may set `result`; an OSError becomes its name and number.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import sys
from pathlib import Path

WAY_OUT = "/run/egress/egress.sock"


def exchange(*parts: str, until: str = "", path: str = WAY_OUT, wait: float = 5.0) -> str:
    """Send each part once the answer to the one before has a head. Return what came, until an answer is complete or
    has `until` in it.

    Bytes are latin-1.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(wait)
        sock.connect(path)
        answer = b""
        try:
            for number, part in enumerate(parts):
                while number and answer.count(b"\r\n\r\n") < number:
                    answer += _more(sock)
                sock.sendall(part.encode("latin-1"))
            while not (until.encode("latin-1") in answer if until else _complete(answer, len(parts))):
                answer += _more(sock)
        except OSError as error:
            answer += f"\n[{type(error).__name__}]".encode()
    return answer.decode("latin-1")


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise Ended("ended")
    return data


class Ended(OSError):
    """The other side ended."""


def _complete(answer: bytes, count: int) -> bool:
    """Return True if there is an answer to each part, the last one with its whole body."""
    head, end, body = answer.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return answer.count(b"HTTP/1.1 ") >= count and bool(end) and length is not None and len(body) >= int(length[1])


def dial(family: int, kind: int, address: object) -> str:
    """Return "connected" or the name of the error of a connection."""
    with socket.socket(family, kind) as sock:
        sock.settimeout(3)
        sock.connect(address)  # type: ignore[arg-type]
        return "connected"


def run(code: str) -> object:
    """Run the code; return its result."""
    names: dict[str, object] = {"socket": socket, "os": os, "Path": Path, "dial": dial, "exchange": exchange}
    try:
        exec(code, names)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return names.get("result")


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
