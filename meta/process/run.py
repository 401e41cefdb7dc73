"""Run a command to its end: an argument list, a deadline, a session of its own, nothing left behind.

PermanentError  |- ProcessFailed    the exit code was not 0; carries Completed
                `- OutputTooLarge   more output than the caller is ready to keep
TransientError  `- ProcessTimeout   the deadline passed; the whole process group was ended
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.errors import PermanentError, TransientError
from meta.process.ambient import search_path
from meta.process.child import Child, start
from meta.process.command_line import limit, resolve, shorten
from meta.process.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended.

    `code` is negative for a signal, `stderr_tail` holds the last 16 KiB, `seconds` is wall time.
    """

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr_tail: str
    seconds: float

    @property
    def text(self) -> str:
        """Return stdout as text, without its last line end."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


class ProcessFailed(PermanentError):
    """The exit code was not 0."""

    def __init__(self, completed: Completed) -> None:
        lines = completed.stderr_tail.strip().splitlines()
        how = f"exit code {completed.code}" if completed.code >= 0 else f"signal {-completed.code}"
        super().__init__(f"`{shorten(completed.argv)}` failed ({how}){': ' + lines[-1] if lines else ''}")
        self.completed = completed


class ProcessTimeout(TransientError):
    """The deadline passed. The whole process group was ended."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the minimal environment of a child (PATH, HOME=/nonexistent, LANG=C.UTF-8) with `extra` on top."""
    return {"PATH": search_path(), "HOME": "/nonexistent", "LANG": "C.UTF-8", **(extra or {})}


@dataclass(frozen=True, slots=True)
class Streams:
    """What a command reads and writes.

    `stdin` None is /dev/null. `stdio` are descriptors that become stdin and stdout instead; the caller closes them.
    `pass_fds` are further descriptors that the command gets. `on_start` is called once the program runs, so that the
    caller can close its copies of descriptors. `on_line` gets each line of stderr without its end. `output_limit`
    bounds stdout in bytes.
    """

    stdin: bytes | None = None
    stdio: tuple[int, int] | None = None
    pass_fds: tuple[int, ...] = ()
    on_start: Callable[[], object] | None = None
    on_line: Callable[[str], None] | None = None
    output_limit: int = 16 * 2**20

    def ends(self) -> tuple[int, int, int]:
        """Return stdin, stdout and stderr as Popen takes them."""
        if self.stdio is not None:
            return (*self.stdio, subprocess.PIPE)
        return (subprocess.DEVNULL if self.stdin is None else subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)


_DEFAULT_STREAMS = Streams()


async def run(
    argv: Sequence[str | Path],
    *,
    deadline: float,
    recorder: Recorder | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limits: Mapping[int, int] | None = None,
    streams: Streams = _DEFAULT_STREAMS,
    check: bool = True,
) -> Completed:
    """Run a command to its end and return its output.

    `deadline` is in seconds from now. `cwd` None is /. `env` is laid over the minimal environment. `limits` maps
    RLIMIT_* to a value (bytes, seconds). With `check` a code other than 0 raises ProcessFailed.

    The command leads its own session. On timeout, cancellation or any error its whole group gets TERM, then KILL, and
    is awaited. Group members that outlive a command are killed. Raise ProcessFailed, ProcessTimeout, OutputTooLarge;
    PermanentError if the program is not installed.
    """
    words = tuple(str(word) for word in argv)
    variables = environment(env)
    command = limit(resolve(words, variables["PATH"]), limits or {}, variables["PATH"])
    begin = time.monotonic()
    with _record(recorder, words, variables) as note_pid:
        child = Child(start(command, variables, cwd or Path("/"), streams.ends(), streams.pass_fds))
        try:
            note_pid(child.pid)
            if streams.on_start is not None:
                streams.on_start()
            async with asyncio.timeout(deadline):
                await child.communicate(streams.stdin, streams.output_limit, streams.on_line)
        except TimeoutError as error:
            tail = child.tail()
            raise ProcessTimeout(f"`{shorten(words)}` did not end within {deadline:g} s", tail[-500:]) from error
        finally:
            code = await child.finish()
    completed = Completed(words, code, bytes(child.stdout), child.tail(), time.monotonic() - begin)
    if check and code != 0:
        raise ProcessFailed(completed)
    return completed


@contextlib.contextmanager
def _record(
    recorder: Recorder | None, argv: tuple[str, ...], variables: dict[str, str]
) -> Iterator[Callable[[int], None]]:
    """Add the marker to `variables` and keep a record while the block runs. Yield the function that records the pid."""
    if recorder is None:
        yield lambda pid: None
        return
    variables.update(recorder.environment())
    with recorder.record(argv) as note_pid:
        yield note_pid
