"""The hive-egress that the daemon starts itself, where no service manager does.

It is detached as an agent's supervisor is: it outlives the daemon with its open connections, the next daemon adopts it,
and `hive down` ends it. Its command line says whose it is, so it is found without a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta import own_file
from meta.config import Config
from meta.errors import Damaged, HiveError, NotFound, TransientError
from meta.layout import Layout
from meta.network.report import Report
from meta.process.detached import spawn_detached
from meta.process.disk import disk_error
from meta.process.identity import ProcessIdentity, alive, identity, open_pidfd, readable
from reconciler.network.client import EgressClient, OtherProtocol

log = logging.getLogger(__name__)

PROGRAM = ("-P", "-m", "reconciler.egress")
PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables of the daemon that hive-egress gets: the CAs to trust. Nothing else of its environment, no secret."""
START_SECONDS = 5.0
"""Seconds in which a hive-egress that runs has to answer."""
END_SECONDS = 5.0
"""Seconds from TERM to KILL."""
QUICK = 30.0
"""A hive-egress that ends sooner after its start is started again later and later."""
PAUSE_MOST = 30.0
HOUR = 3600.0
LOG_LIMIT = 4 * 2**20
"""Bytes of its log. The part before is in `log.1`."""
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class EgressCommand:
    """The command of one hive's hive-egress. `words` come after the Python of this daemon."""

    words: tuple[str, ...]
    state: Path
    sockets: Path
    control: Path
    revision: str = ""

    @classmethod
    def of(cls, layout: Layout, config: Config, control: Path, revision: str) -> EgressCommand:
        """Return that of a daemon."""
        words = (
            *PROGRAM,
            *("--state", str(layout.egress_state)),
            *("--sockets", str(layout.egress_sockets)),
            *("--control", str(control)),
            *("--network", config.network_file or str(layout.network_file)),
            *("--ceiling", config.network_ceiling),
        )
        return cls(words, layout.egress_state, layout.egress_sockets, control, revision)

    @property
    def argv(self) -> list[str]:
        """The whole command."""
        return [sys.executable, *self.words, "--revision", self.revision]

    def fits(self, words: Sequence[str]) -> bool:
        """Return True if a command line is this command, of any Python and revision."""
        return tuple(words[1 : len(self.words) + 1]) == self.words


Restarted = Callable[[str], Awaitable[None]]
"""Records that hive-egress runs again, and why it had ended."""


async def record_nothing(_why: str) -> None:
    """Record nothing."""


class EgressProcess:
    """The process, started when it is missing, replaced when it speaks another protocol or has other options."""

    def __init__(
        self,
        command: EgressCommand,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        restarted: Restarted = record_nothing,
    ) -> None:
        self._command = command
        self._environment = {name: environment[name] for name in PASSED_ON if name in environment}
        self._clock = clock
        self._restarted = restarted
        self._end = ""
        """How the one that this daemon started last has ended."""
        self._missed = ""
        """Why the one that answered last has ended, until another answers."""
        self._adopted: int | None = None
        self._started = float("-inf")
        self._quick = 0
        self._starts = 0
        self._ends: list[float] = []

    @property
    def starts(self) -> int:
        """How often this daemon started it."""
        return self._starts

    @property
    def ends(self) -> int:
        """How often it ended by itself within the last hour."""
        self._ends = [at for at in self._ends if at > self._clock() - HOUR]
        return len(self._ends)

    async def revive(self, client: EgressClient) -> Report:
        """Return the report of a hive-egress that runs, started now if none does. Raise TransientError."""
        why = ""
        for which, _ in await asyncio.to_thread(running, self._command.state):
            if (report := await self._answer(client, which)) is not None:
                return await self.adopt(client, report)
            log.warning("hive-egress (pid %d) does not answer in this protocol: it is ended", which.pid)
            await end(which)
            why = "it did not answer, and was ended"
        return await self._start(client, why)

    async def adopt(self, client: EgressClient, report: Report) -> Report:
        """Return `report`, or that of a new process if the one that made it has other options. Raise TransientError."""
        self._keep_log_short()
        if report.pid == self._adopted:
            return report
        for which, words in await asyncio.to_thread(running, self._command.state):
            if which.pid == report.pid and not self._command.fits(words):
                log.info("hive-egress (pid %d) has other options: it is replaced", which.pid)
                await end(which)
                self._adopted = None
                return await self._start(client)
        self._adopted = report.pid
        return report

    async def end(self) -> None:
        """End each hive-egress of this hive. Raise TransientError if one does not end."""
        for which, _ in await asyncio.to_thread(running, self._command.state):
            await end(which)

    async def _start(self, client: EgressClient, why: str = "") -> Report:
        self._require_pause()
        if self._adopted is not None:
            self._ends.append(self._clock())
            why = why or self._end or "how is not known: an earlier daemon had started it"
            log.warning("hive-egress ended (%s): it is started again", why)
            self._adopted, self._missed = None, why
        self._end = ""
        state, control = self._command.state, self._command.control
        env = {"PATH": os.defpath, "LANG": "C.UTF-8", **self._environment}
        try:
            for folder in (state, control.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._command.sockets.mkdir(mode=0o755, parents=True, exist_ok=True)
            pid = await spawn_detached(
                self._command.argv, env=env, cwd=Path("/"), log=state / "log", ended=self._note_end
            )
        except OSError as error:
            raise disk_error("cannot start hive-egress", error) from error
        self._started, self._adopted = self._clock(), pid
        self._starts += 1
        log.info("hive-egress started (pid %d)", pid)
        with contextlib.suppress(NotFound):  # it ended already
            if (report := await self._answer(client, identity(pid))) is not None:
                await self._record()
                return report
        raise TransientError(f"hive-egress does not start: {_last_line(state / 'log')}", f"see {state / 'log'}")

    def _note_end(self, how: str) -> None:
        self._end = how

    async def _record(self) -> None:
        """Record the end that made this start necessary, once: of those that were tried in between, none answered."""
        if self._missed:
            why, self._missed = self._missed, ""
            await self._restarted(why)

    async def _answer(self, client: EgressClient, which: ProcessIdentity) -> Report | None:
        """Return the report of a process; None if it ends or does not answer in time."""
        until = self._clock() + START_SECONDS
        while alive(which) and self._clock() < until:
            try:
                report = await client.report()
            except OtherProtocol:
                return None
            except HiveError:
                await asyncio.sleep(_POLL)
                continue
            if report.pid == which.pid:
                return report
            await asyncio.sleep(_POLL)
        return None

    def _require_pause(self) -> None:
        """Raise TransientError if it ended just now, and often."""
        lived = self._clock() - self._started
        self._quick = self._quick + 1 if lived < QUICK else 0
        if self._quick == 0:
            return
        pause = min(PAUSE_MOST, 0.25 * 2**self._quick)
        if lived < pause and self._quick > 1:
            self._quick -= 1  # this was no start
            log_file = self._command.state / "log"
            why = f"{self._end}; {_last_line(log_file)}" if self._end else _last_line(log_file)
            raise TransientError(
                f"hive-egress ended {self._quick} times soon after its start: {why}",
                f"see {log_file}",
                retry_after=pause - lived,
            )

    def _keep_log_short(self) -> None:
        path = self._command.state / "log"
        with contextlib.suppress(OSError):
            if path.lstat().st_size > LOG_LIMIT and own_file.is_regular(path):
                shutil.copyfile(path, path.with_name("log.1"))
                os.truncate(path, 0)  # it is appended to


def running(state: Path) -> list[tuple[ProcessIdentity, tuple[str, ...]]]:
    """Return every hive-egress of a state directory that this user runs, with its command line.

    An agent's process may have any command line, and has the same user if agents have one uid. But it is in other
    namespaces, which it cannot leave.
    """
    found = []
    ours = _namespaces("self")
    for name in (entry.name for entry in Path("/proc").iterdir()):
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError, NotFound):
            words = tuple(os.fsdecode(Path("/proc", name, "cmdline").read_bytes()).split("\0")[:-1])
            if words[1:6] != (*PROGRAM, "--state", str(state)) or Path("/proc", name).stat().st_uid != os.geteuid():
                continue
            if _namespaces(name) == ours:
                found.append((identity(int(name)), words))
    return found


def _namespaces(process: str) -> tuple[str, ...]:
    """Return the namespaces of users and processes that a process is in."""
    return tuple(str(Path("/proc", process, "ns", kind).readlink()) for kind in ("user", "pid"))


async def end(which: ProcessIdentity, seconds: float | None = None) -> bool:
    """End a hive-egress. Return False if it had ended already. Raise TransientError if it does not end."""
    pidfd = open_pidfd(which)
    if pidfd is None:
        return False
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS if seconds is None else seconds):
                    await readable(pidfd)
                return True
        raise TransientError(f"hive-egress (pid {which.pid}) does not end although it was killed")
    finally:
        os.close(pidfd)


def _last_line(path: Path) -> str:
    try:
        lines = own_file.read(path).decode("utf-8", "replace").strip().splitlines()
    except (OSError, Damaged):
        return "its log cannot be read"
    return lines[-1][:300] if lines else "it wrote nothing to its log"
