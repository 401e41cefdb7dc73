"""The unit container@<name>.service: start, also after a killed run; stop, with KILL after the grace; its log.

Only the unit's own journal is read, so a container must forward its journal to its console. The container's files are
never read: the container writes them, and root would follow its symlinks.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping

from meta.errors import PermanentError
from meta.names import AgentName
from reconciler.privileged.command import DeadlinePassed, Ended, Run
from reconciler.privileged.host import Host

TEXT_LIMIT = 256 * 1024
"""Bytes of log text in an answer, as JSON."""

_OUTPUT_LIMIT = 16 * 2**20
_NOT_LOADED = 5
_POLLS = 10


def pause(seconds: float) -> None:
    """Wait. Only this function of the helper waits."""
    threading.Event().wait(seconds)


class Units:
    """The units of all containers. Every call has a deadline."""

    def __init__(self, host: Host, run: Run, wait: Callable[[float], None] = pause) -> None:
        self._host = host
        self._run = run
        self._wait = wait

    def reload(self) -> None:
        """Make systemd read changed drop-ins."""
        self._checked(self._systemctl("daemon-reload", deadline=self._host.deadlines.control), "daemon-reload")

    def needs_reload(self, name: AgentName) -> bool:
        """Return True if systemd has read an older drop-in.

        This costs a tenth of a reload, and does not block systemd.
        """
        argv = (self._host.programs.systemctl, "show", "--property=NeedDaemonReload", "--value", _unit(name))
        ended = self._run(argv, deadline=self._host.deadlines.control)
        return ended.stdout.strip() == b"yes"

    def start(self, name: AgentName) -> None:
        """Start the unit and wait until it is ready.

        End a machine that a killed nspawn left, at most `retries` times. Such a machine may end by itself right after
        the start has failed, so one more try follows.
        """
        ended = Ended(1)
        for attempt in range(1 + self._host.deadlines.retries):
            self._systemctl("reset-failed", _unit(name), deadline=self._host.deadlines.control)
            ended = self._systemctl("start", _unit(name), deadline=self._host.deadlines.start)
            if ended.code == 0:
                break
            if self._registered(name):
                self._end_machine(name)
            elif attempt > 0:
                break
        self._checked(ended, f"start of {name}")

    def stop(self, name: AgentName, grace: float) -> None:
        """Stop the unit, and KILL the processes that are left after `grace` seconds. Return when no process is left."""
        deadlines = self._host.deadlines
        begun = time.monotonic()
        queued = self._systemctl("stop", "--no-block", _unit(name), deadline=deadlines.control)
        if queued.code == _NOT_LOADED:
            return
        self._checked(queued, f"stop of {name}")
        left = grace - (time.monotonic() - begun)
        if left > 0:
            try:
                self._checked(self._systemctl("stop", _unit(name), deadline=left), f"stop of {name}")
                return
            except DeadlinePassed:
                pass
        self._systemctl("kill", "--signal=KILL", _unit(name), deadline=deadlines.control)
        self._checked(self._systemctl("stop", _unit(name), deadline=deadlines.kill), f"stop of {name}")

    def logs(
        self, name: AgentName, lines: int, cursor: str | None, since: int | None = None
    ) -> tuple[list[str], str | None]:
        """Return the last `lines` lines after `cursor`, oldest first, at most TEXT_LIMIT, and the next cursor."""
        words = ["--no-pager", "--quiet", "--output=json", "--output-fields=MESSAGE", f"--lines={lines}"]
        words += [f"--unit={_unit(name)}", *([f"--after-cursor={cursor}"] if cursor else [])]
        words += [f"--since=@{since}"] if since is not None else []
        # the last lines of a container that has just ended may not be in the journal yet
        sync = (self._host.programs.journalctl, "--sync")
        self._run(sync, deadline=self._host.deadlines.logs, output_limit=_OUTPUT_LIMIT)
        argv = (self._host.programs.journalctl, *words)
        ended = self._run(argv, deadline=self._host.deadlines.logs, output_limit=_OUTPUT_LIMIT)
        self._checked(ended, f"journal of {name}")
        entries = [entry for line in ended.stdout.splitlines() if (entry := _entry(line)) is not None]
        last = entries[-1].get("__CURSOR") if entries else cursor
        return _bounded([_message(entry) for entry in entries][-lines:]), last if isinstance(last, str) else cursor

    def _registered(self, name: AgentName) -> bool:
        argv = (self._host.programs.machinectl, "show", "--property=Leader", name)
        return self._run(argv, deadline=self._host.deadlines.control).code == 0

    def _end_machine(self, name: AgentName) -> None:
        argv = (self._host.programs.machinectl, "terminate", name)
        self._run(argv, deadline=self._host.deadlines.control)
        for _ in range(_POLLS):
            if not self._registered(name):
                return
            self._wait(self._host.deadlines.heal / _POLLS)

    def _systemctl(self, *words: str, deadline: float) -> Ended:
        return self._run((self._host.programs.systemctl, *words), deadline=deadline)

    def _checked(self, ended: Ended, what: str) -> None:
        if ended.code != 0:
            raise PermanentError(f"{what} failed with code {ended.code}: {ended.last_line}", "see its log")


def _unit(name: AgentName) -> str:
    return f"container@{name}.service"


def _entry(line: bytes) -> Mapping[str, object] | None:
    try:
        entry: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _message(entry: Mapping[str, object]) -> str:
    """Return the text of an entry.

    journalctl prints bytes other than UTF-8 as numbers, and null for long texts.
    """
    match entry.get("MESSAGE"):
        case str(text):
            return text
        case list(numbers):
            known = [number for number in numbers if isinstance(number, int) and 0 <= number < 256]
            return bytes(known).decode("utf-8", "replace")
        case _:
            return "(a line too long to show)"


def _bounded(texts: list[str]) -> list[str]:
    left, kept = TEXT_LIMIT, 0
    for text in reversed(texts):
        left -= len(json.dumps(text)) + 1
        if left < 0:
            break
        kept += 1
    return texts[len(texts) - kept :]
