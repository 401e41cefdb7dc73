"""The standard streams of the command: closed, full or not in UTF-8, they end in one line and never in a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TextIO

from meta.errors import BadInput
from meta.text import size

MOST = 16 * 2**20
"""Bytes that are read from stdin. Every text that hive takes is shorter."""
OF_A_STREAM = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})
"""How a write to a stream fails. Without the name of a file it was no file that a command opened."""


def settle() -> None:
    """Replace closed streams by ones whose use is an error, and let each stream write every character.

    A character that the encoding of a stream does not have is written as an escape.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one. It is opened for the other direction, so that its use fails.
            unusable = os.open(os.devnull, os.O_WRONLY if mode == "r" else os.O_RDONLY)
            os.set_inheritable(unusable, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def read_stdin() -> str:
    """Return all of stdin. Raise BadInput if it is closed, too long or not UTF-8."""
    try:
        data = _read()
    except OSError as error:
        raise BadInput(f"cannot read stdin: {error.strerror or error}", "give the text as an argument") from error
    if len(data) > MOST:
        raise BadInput(f"stdin has more than {size(MOST)}", "send less")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        what = f"stdin is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start}"
        raise BadInput(what, "convert it first: `iconv -f latin1 -t utf-8`") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read() -> bytes:
    binary = getattr(sys.stdin, "buffer", None)
    return bytes(binary.read(MOST + 1)) if binary is not None else sys.stdin.read(MOST + 1).encode()


def discard(stream: TextIO) -> None:
    """Let what is still buffered for a stream go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
