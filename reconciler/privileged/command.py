"""Runs other programs for the helper: argument lists, a deadline, a minimal environment, bounded output.

The daemon uses meta.process.run with an event loop. The helper needs the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meta.errors import PermanentError, TransientError

_ERRORS_KEPT = 4096
_KILL_GRACE = 10.0
_KEPT = ("PATH", "NIX_REMOTE")


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended: exit code (negative: signal), stdout, and the last bytes of stderr as text."""

    code: int
    stdout: bytes = b""
    errors: str = ""

    @property
    def last_line(self) -> str:
        """The last line on stderr, "" if there is none."""
        lines = self.errors.strip().splitlines()
        return lines[-1][:500] if lines else ""


class DeadlinePassed(TransientError):
    """The program did not end in time and was killed."""


class Run(Protocol):
    """Runs programs. Tests replace it by a recorder."""

    def __call__(self, argv: Sequence[str], *, deadline: float, output_limit: int = ...) -> Ended:
        """Run a program to its end, at most `deadline` seconds."""


def run(argv: Sequence[str], *, deadline: float, output_limit: int = 64 * 1024) -> Ended:
    """Run a program in an empty working directory of its own, which is also its HOME.

    `deadline` is in seconds, `output_limit` in bytes of stdout. Beyond either the whole process group is killed. Raise
    DeadlinePassed, or PermanentError for too much output or a missing program.
    """
    ends = time.monotonic() + deadline
    with tempfile.TemporaryDirectory(prefix="hive-privileged-") as folder:
        process = _start(argv, folder)
        try:
            stdout, errors = _read(process, argv, ends, output_limit)
            code = process.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise DeadlinePassed(f"{Path(argv[0]).name} did not end within {deadline:g} s") from error
        finally:
            _end(process)
    return Ended(code, stdout, errors.decode("utf-8", "replace"))


def _start(argv: Sequence[str], folder: str) -> subprocess.Popen[bytes]:
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", **{key: os.environ[key] for key in _KEPT if key in os.environ}}
    try:
        return subprocess.Popen(
            list(argv),
            cwd=folder,
            env={**env, "HOME": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise PermanentError(f"{argv[0]} cannot be run: {error.strerror}", "see the helper's options") from error
    except OSError as error:
        raise TransientError(f"{argv[0]} cannot be started now: {error.strerror}") from error


def _read(process: subprocess.Popen[bytes], argv: Sequence[str], ends: float, limit: int) -> tuple[bytes, bytes]:
    stdout, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, kept in ((process.stdout, stdout), (process.stderr, errors)):
            if pipe is not None:
                selector.register(pipe.fileno(), selectors.EVENT_READ, kept)
        while selector.get_map():
            ready = selector.select(max(0.0, ends - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(list(argv), 0)
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                kept = stdout if key.data is stdout else errors
                kept += chunk
                if not chunk:
                    selector.unregister(key.fd)
            del errors[:-_ERRORS_KEPT]
            if len(stdout) > limit:
                raise PermanentError(f"{Path(argv[0]).name} wrote more than {limit} bytes", "ask for less")
    return bytes(stdout), bytes(errors)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel, for example on a broken disk
        process.wait(_KILL_GRACE)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
