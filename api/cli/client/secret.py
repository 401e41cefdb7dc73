"""Read one line that is a secret: from the terminal without an echo, from stdin, or from a file."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from api.cli.client.exit_codes import TimedOut
from api.cli.render import console
from api.cli.terminal.confirm import has_terminal
from meta.errors import BadInput, NotFound

MOST = 4096
"""Bytes of the line, at most."""


def from_stdin(prompt: str, seconds: float) -> str:
    """Return a line of stdin, which a terminal does not echo. Raise TimedOut after `seconds`, BadInput at the end."""
    console.progress(prompt)
    with _without_echo() if has_terminal() else contextlib.nullcontext():
        return _line(sys.stdin.fileno(), seconds)


def from_file(path: Path) -> str:
    """Return the first line of a file. Raise NotFound or BadInput without one."""
    try:
        with path.open("rb") as file:
            data = file.readline(MOST + 1)
    except IsADirectoryError as error:
        raise BadInput(f"{path} is a folder", "name a file with the code") from error
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", "name a file with the code") from error
    except PermissionError as error:
        raise BadInput(f"you may not read {path}", "name a file that you may read") from error
    return _decoded(data)


def _line(descriptor: int, seconds: float) -> str:
    """Return a line, byte by byte: what follows it stays for others."""
    deadline, data = time.monotonic() + seconds, b""
    while not data.endswith(b"\n") and len(data) <= MOST:
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimedOut("no code was entered in time", "begin again")
        byte = os.read(descriptor, 1)
        if not byte:
            break
        data += byte
    return _decoded(data)


def _decoded(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    if not text or len(data) > MOST:
        raise BadInput("that is no code" if text else "no code was entered", "copy it from the page, and begin again")
    return text


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    silent = termios.tcgetattr(descriptor)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
