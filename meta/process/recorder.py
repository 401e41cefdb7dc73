"""Records of running commands: after a crash the next daemon finds the commands and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from meta import own_file
from meta.errors import Damaged, TransientError
from meta.process.identity import ProcessIdentity, alive, boot_id, identity, open_pidfd, readable, stat

MARKER = "HIVE_OWNER"
"""Environment variable of every short-lived child: `<id of the state directory>:<token of this daemon process>`."""

_GRACE = 2.0
"""Seconds between TERM and KILL."""

_PROC = Path("/proc")
_log = logging.getLogger(__name__)


class Recorder:
    """The records below `directory`, one per running command.

    `owner` is the random id of the state directory. Each Recorder belongs to one daemon process and has a random token.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory = directory
        self._owner = owner
        self._token = secrets.token_hex(8)
        self._count = 0

    def environment(self) -> dict[str, str]:
        """Return the marker, for children that another module starts (GitPython)."""
        return {MARKER: f"{self._owner}:{self._token}"}

    @contextlib.contextmanager
    def record(self, argv: Sequence[str]) -> Iterator[Callable[[int], None]]:
        """Keep a record while the block runs. Yield a function to call with the pid right after the start."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._count += 1
        path = self._directory / f"{self._token}-{self._count}.json"
        scratch = path.with_suffix(".tmp")

        def write(which: ProcessIdentity | None) -> None:
            process = {} if which is None else {"pid": which.pid, "start": which.start_time, "boot": which.boot_id}
            scratch.write_text(json.dumps({"argv": [word[:200] for word in argv[:20]], **process}), encoding="utf-8")
            scratch.rename(path)

        try:
            write(None)
            yield lambda pid: write(identity(pid))
        finally:
            for each in (path, scratch):  # of a full disk the scratch file is left
                each.unlink(missing_ok=True)

    async def recover(self, deadline: float) -> list[str]:
        """End and await the processes that an earlier daemon left running; return one description of each.

        These are the processes that a record names (by pid, start time and boot), the members of their sessions, and
        those that carry this owner's marker with another token. They get TERM, then KILL; `deadline` is in seconds.
        Raise TransientError if a process is still there at the deadline.
        """
        records = [path for path in self._directory.glob("*-*.*") if not path.name.startswith(f"{self._token}-")]
        leaders = [leader for leader in map(_read_record, records) if leader is not None]
        ended: dict[ProcessIdentity, str] = {}
        number = signal.SIGTERM
        until = time.monotonic() + deadline
        while left := self._find(leaders):
            if time.monotonic() >= until:
                raise TransientError(
                    f"processes of an earlier daemon do not end: {', '.join(left.values())}", "end them by hand"
                )
            ended.update(left)
            grace = max(0.0, min(_GRACE, until - time.monotonic()))
            await asyncio.gather(*(_end_one(which, number, grace) for which in left))
            number = signal.SIGKILL
        for path in records:
            path.unlink(missing_ok=True)
        for words in ended.values():
            _log.warning("ended a process that an earlier daemon left running: %s", words)
        return list(ended.values())

    def _find(self, leaders: Sequence[ProcessIdentity]) -> dict[ProcessIdentity, str]:
        # only of those that are alive: the number of one that ended may be another program's session by now
        sessions = {which.pid for which in leaders if alive(which)}
        processes = {}
        for entry in _PROC.iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            pid = int(entry.name)
            now = stat(pid)
            if now is None or now.state in "ZX":
                continue
            if now.session in sessions or self._marked_by_another(pid):
                processes[ProcessIdentity(pid, now.start_time, boot_id())] = f"{_command_line(pid)} (pid {pid})"
        return processes

    def _marked_by_another(self, pid: int) -> bool:
        try:
            variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or belongs to another user
            return False
        mine = f"{MARKER}={self._owner}:".encode()
        marks = [entry for entry in variables if entry.startswith(mine)]
        return any(mark != mine + self._token.encode() for mark in marks)


def _read_record(path: Path) -> ProcessIdentity | None:
    try:
        record = json.loads(own_file.read(path))
        return ProcessIdentity(int(record["pid"]), int(record["start"]), str(record["boot"]))
    except (OSError, Damaged, ValueError, KeyError, TypeError) as error:  # cut short, or the pid was never recorded
        _log.debug("record %s names no process: %s", path.name, error)
        return None


def _command_line(pid: int) -> str:
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return " ".join(word.decode("utf-8", "replace") for word in words if word)[:120] or "?"


async def _end_one(which: ProcessIdentity, number: signal.Signals, grace: float) -> None:
    """Signal exactly this process (through a pidfd) and wait up to `grace` seconds for its end."""
    pidfd = open_pidfd(which)
    if pidfd is None:
        return
    try:
        signal.pidfd_send_signal(pidfd, number)
        async with asyncio.timeout(grace):
            await readable(pidfd)
    except (ProcessLookupError, TimeoutError) as error:
        _log.debug("pid %d after %s: %r", which.pid, number.name, error)
    finally:
        os.close(pidfd)
