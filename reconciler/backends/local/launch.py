"""The start of a supervisor, and the removal of what a killed supervisor left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from meta import own_file
from meta.errors import Damaged, NotFound, TransientError
from meta.names import AgentName
from meta.process.detached import spawn_detached
from meta.process.identity import ProcessIdentity, identity, leads_session, open_pidfd, readable
from reconciler.backends.local.cgroups import Cgroups, kill, remove
from reconciler.backends.local.enclosure import ACCOUNTS, Enclosure
from reconciler.backends.local.records import LocalRecords
from reconciler.common.files import write_json
from reconciler.plan.observed import Exit, Launch

SUPERVISOR = Path(__file__).resolve().parent / "supervisor.py"
_LOGS = ("supervisor.log", "log", "log.times")
START_SECONDS = 15.0
"""Seconds from the spawn until the supervisor reports that the run is recorded. On an idle machine this takes 30 ms."""
END_SECONDS = 5.0
"""Seconds to wait for the end of a supervisor that was killed since it did not start."""


class Busy(TransientError):
    """Another supervisor holds the agent's lock."""


def write_spec(
    records: LocalRecords, launch: Launch, enclosure: Enclosure, joins: Sequence[Path], grace: float, log_limit: int
) -> None:
    """Write spec.json, which the supervisor reads."""
    folder = records.folder
    spec = {
        "nonce": launch.nonce,
        "launch": asdict(launch),
        "argv": list(enclosure.argv),
        "env": enclosure.env,
        "cwd": enclosure.cwd,
        "uid": enclosure.uid,
        "sandboxed": enclosure.sandboxed,
        "cgroups": [str(path) for path in joins],
        "rlimits": {"core": 0},
        "lock": str(folder / "lock"),
        "run": str(folder / "run.json"),
        "exit": str(folder / "exit.json"),
        "log": str(folder / "log"),
        "log_limit": log_limit,
        "grace": grace,
    }
    write_json(folder / "spec.json", spec, mode=0o600, sync=False)


def write_exit(records: LocalRecords, ended: Exit) -> None:
    """Write exit.json on behalf of a supervisor that could not."""
    with contextlib.suppress(FileNotFoundError):
        write_json(records.folder / "exit.json", asdict(ended))


async def start_supervisor(records: LocalRecords) -> ProcessIdentity:
    """Start the supervisor on spec.json and wait for its report. Raise Busy, or TransientError with the report.

    When it raises, the supervisor that it started has ended.
    """
    fifo = records.folder / f"ready-{secrets.token_hex(4)}"  # a name of its own: no other start can take the report
    _remove_old_pipes(records.folder)
    _clear_logs(records.folder)
    os.mkfifo(fifo, 0o600)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        argv: list[str | Path] = [sys.executable, "-I", "-S", SUPERVISOR, records.folder / "spec.json", fifo]
        pid = await spawn_detached(argv, env={"LANG": "C.UTF-8"}, cwd=Path("/"), log=records.folder / "supervisor.log")
        return await _await_report(records, reader, pid)
    finally:
        os.close(reader)
        fifo.unlink(missing_ok=True)


def _remove_old_pipes(folder: Path) -> None:
    """Remove the pipes of daemons that were killed during a start. Keep the pipe of a start that is under way."""
    for path in folder.glob("ready-*"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - 4 * START_SECONDS:
                path.unlink()


def _clear_logs(folder: Path) -> None:
    """Remove what stands in the place of a log, or move it aside if it is a folder. To open a pipe would wait."""
    for name in _LOGS:
        path = folder / name
        if not os.path.lexists(path) or own_file.is_regular(path):
            continue
        with contextlib.suppress(OSError):  # then the start fails and names it
            if path.is_dir() and not path.is_symlink():
                path.rename(folder / f"{name}.aside-{secrets.token_hex(4)}")
            else:
                path.unlink()


async def _await_report(records: LocalRecords, reader: int, pid: int) -> ProcessIdentity:
    pidfd = os.pidfd_open(pid)  # it cannot be reaped before the loop runs again
    try:
        which = identity(pid)
        await _first((readable(reader), readable(pidfd)), START_SECONDS)
        report = ""
        with contextlib.suppress(BlockingIOError):
            report = os.read(reader, 4096).decode("utf-8", "replace").strip()
        if report == "ok":
            return which
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await _first((readable(pidfd),), END_SECONDS)  # whoever looks for supervisors now must not find this one
    finally:
        os.close(pidfd)
    if report == "busy":
        raise Busy(f"another supervisor of {records.agent} still runs", "hive ends it first")
    detail = report or _last_line(records.folder / "supervisor.log") or "it reported nothing"
    raise TransientError(f"the supervisor of {records.agent} did not start: {detail}")


async def _first(waits: Sequence[Coroutine[object, object, None]], seconds: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _last_line(path: Path) -> str:
    try:
        lines = own_file.read(path).decode("utf-8", "replace").strip().splitlines()
    except (OSError, Damaged):
        return ""
    return lines[-1] if lines else ""


def running_supervisors(folder: Path) -> Iterator[tuple[AgentName, ProcessIdentity]]:
    """Find every supervisor whose spec lies below `folder`, by its command line.

    This includes those without records. Its child has the same command line until it executes its program, but does
    not lead the session.
    """
    for pid, words in _command_lines():
        if str(SUPERVISOR) not in words[:-1]:
            continue
        spec = Path(words[words.index(str(SUPERVISOR)) + 1])
        if spec.name == "spec.json" and spec.parent.parent == folder and leads_session(pid):
            with contextlib.suppress(NotFound):
                yield AgentName(spec.parent.name), identity(pid)


def running_sandboxes(folder: Path) -> Iterator[ProcessIdentity]:
    """Find every bubblewrap that was started for the agent with this folder."""
    for pid, words in _command_lines():
        if str(folder / ACCOUNTS / "passwd") in words:
            with contextlib.suppress(NotFound):
                yield identity(pid)


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                yield int(entry.name), os.fsdecode(Path(entry.path, "cmdline").read_bytes()).split("\0")


async def await_gone(agent: AgentName, which: ProcessIdentity, seconds: float) -> None:
    """KILL a process that should have ended with its supervisor, and wait. Raise TransientError if it does not end."""
    pidfd = open_pidfd(which)
    if pidfd is None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        async with asyncio.timeout(seconds):
            await readable(pidfd)
    except TimeoutError as error:
        raise TransientError(f"pid {which.pid} of {agent} does not end although it was killed") from error
    finally:
        os.close(pidfd)


async def clear_cgroups(cgroups: Cgroups, records: LocalRecords, seconds: float) -> None:
    """KILL the processes in the agent's groups, and remove the groups.

    Raise TransientError if a process does not end.
    """
    directories = cgroups.directories(records.agent) | _joined(records)
    deadline = asyncio.get_running_loop().time() + seconds
    while not remove(directories):
        kill(directories)
        if asyncio.get_running_loop().time() > deadline:
            raise TransientError(f"processes of {records.agent} do not end although they were killed")
        await asyncio.sleep(0.01)  # the kernel offers no event for an emptied version 1 group


def _joined(records: LocalRecords) -> set[Path]:
    """Return the groups of the last start. The daemon that made them may have been in another group than this one."""
    spec = records.spec.get()
    return {Path(file).parent for file in spec.cgroups} if spec is not None else set()
