"""The main process of a container whose agent may have sub-agents. The harness is its child.

    harness crashes, a sub-agent lives   -> what its CLI left ends, and the harness starts again in place
    harness ends in any other way        -> all sub-agents end, and the keeper ends as the harness did

It imports only the standard library, and little of it: it stays beside each such harness.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from harness.keeper.wanted import VARIABLE
from harness.process_table import Process, Row, become_subreaper, below, read_rows, send

RESTARTS = 3
"""Restarts of the harness within `WINDOW`. After them its next crash ends the container."""
WINDOW = 60.0
SETTINGS_EXIT = 78
"""The exit code of a harness with wrong settings: a restart would find the same."""
HARNESS_SECONDS = 20.0
"""Seconds that the harness may take to end after a signal. Less than systemd gives to all."""
POD_SECONDS = 3.0
"""Seconds between TERM and KILL for sub-agents."""
KILL_SECONDS = 10.0
"""Seconds that processes may take to end after KILL. One in an uninterruptible wait does not end."""
MOST = 1000
"""Sub-agents that are remembered."""

_PAUSE = 0.05
_DUMPABLE = 4  # PR_SET_DUMPABLE


def restart_wanted(code: int, *, asked: bool, alive: int, restarts: Sequence[float], now: float) -> bool:
    """Return True if a harness that ended starts again.

    `code` is negative for a signal. `asked`: the container is to end. `alive`: sub-agents that live. `restarts`: when
    it started again before.
    """
    if asked or not alive or code in (0, SETTINGS_EXIT):
        return False
    return sum(now - at < WINDOW for at in restarts) < RESTARTS


class Keeper:
    """One harness and its sub-agents, until all have ended."""

    def __init__(self, argv: Sequence[str], variables: Mapping[str, str]) -> None:
        self._argv = tuple(argv)
        self._variables = dict(variables)
        self._own, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._own.setblocking(False)
        self._wake, self._wake_write = os.pipe()
        self._pods: set[Process] = set()
        self._restarts: list[float] = []
        self._harness = 0
        self._status: int | None = None
        self._asked = False

    def run(self) -> int:
        """Run the harness until it has ended for good; return its exit code, negative for a signal."""
        self._listen()
        while True:
            code = self._run_harness()
            alive, now = len(self._living(read_rows())), time.monotonic()
            if not restart_wanted(code, asked=self._asked, alive=alive, restarts=self._restarts, now=now):
                break
            self._end(KILL_SECONDS, spare=True)
            if self._asked:
                break
            _say(f"the harness ended with {code}, and {alive} sub-agents live: it starts again")
            self._restarts.append(now)
        self._end_all()
        return code

    def _listen(self) -> None:
        """Get signals as bytes in a pipe. Inherit what loses its parent."""
        for fd in (self._wake, self._wake_write):
            os.set_blocking(fd, False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            become_subreaper()
        except OSError as error:
            _say(f"sub-agents do not survive a crash of the harness: {error}")

    def _run_harness(self) -> int:
        """Start the harness and wait for its end; return its code."""
        try:
            self._start()
        except OSError as error:
            _say(f"cannot start the harness: {error}")
            return 1
        deadline: float | None = None
        while self._status is None:
            orphan = self._wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if self._status is not None:  # its number may belong to another process now
                break
            if self._asked and deadline is None:
                os.kill(self._harness, signal.SIGTERM)
                deadline = time.monotonic() + HARNESS_SECONDS
            elif deadline is not None and time.monotonic() >= deadline:
                os.kill(self._harness, signal.SIGKILL)
                deadline += KILL_SECONDS
            if orphan:
                self._kill(self._leftovers(read_rows()))
        self._read()
        return os.waitstatus_to_exitcode(self._status)

    def _start(self) -> None:
        """Start the harness in a process group of its own: a TERM to that of the keeper would come to it twice."""
        self._status = None
        env = {**self._variables, VARIABLE: str(self._theirs.fileno())}
        self._theirs.set_inheritable(True)
        try:
            self._harness = os.posix_spawn(
                self._argv[0], self._argv, env, setpgroup=0, setsigdef=(signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
            )
        finally:
            self._theirs.set_inheritable(False)

    def _wait(self, timeout: float | None) -> bool:
        """Wait for a signal or a message at most `timeout` seconds. Return True if an orphan ended."""
        messages = self._own.fileno()
        ready = select.select([self._wake, messages], [], [], timeout)[0]
        if messages in ready:
            self._read()
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._wake, 512)
            self._asked = self._asked or signal.SIGTERM in numbers or signal.SIGINT in numbers
        return self._reap()

    def _read(self) -> None:
        """Learn of sub-agents. A message that is none is ignored."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(MOST):
                words = self._own.recv(64).split()
                if len(words) == 2 and all(word.isdigit() for word in words) and len(self._pods) < MOST:
                    self._pods.add(Process(int(words[0]), int(words[1])))

    def _reap(self) -> bool:
        """Reap the children that ended. Return True if there was one beside the harness."""
        orphan = False
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self._harness and self._status is None:
                    self._status = found[1]
                else:
                    orphan = True
        return orphan

    def _living(self, rows: Mapping[int, Row]) -> set[Process]:
        """Return the sub-agents that live, and forget the others. What is not below this process is none."""
        mine = set(below(os.getpid(), rows))
        self._pods = {pod for pod in self._pods & mine if not rows[pod.pid].zombie}
        return self._pods

    def _leftovers(self, rows: Mapping[int, Row]) -> set[Process]:
        """Return what lost its parent and belongs to no sub-agent, with its descendants."""
        pods = self._living(rows)
        tops = [row for row in rows.values() if row.parent == os.getpid() and row.process not in pods]
        if self._status is None:
            tops = [row for row in tops if row.process.pid != self._harness]
        found = {process for top in tops for process in (top.process, *below(top.process.pid, rows))}
        return found - {process for pod in pods & found for process in (pod, *below(pod.pid, rows))}

    def _kill(self, processes: set[Process]) -> None:
        for process in processes:
            send(process, signal.SIGKILL)

    def _end(self, seconds: float, *, spare: bool) -> None:
        """Kill what lost its parent until there is none, at most for some seconds. `spare`: but no sub-agent."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rows = read_rows()
            found = self._leftovers(rows) if spare else set(below(os.getpid(), rows))
            if not found:
                return
            self._kill(found)
            self._wait(_PAUSE)
        _say("processes that the harness left behind do not end")

    def _end_all(self) -> None:
        """End the sub-agents, then everything that is left."""
        for pod in self._living(read_rows()):
            send(pod, signal.SIGTERM)
        deadline = time.monotonic() + POD_SECONDS
        while self._living(read_rows()) and time.monotonic() < deadline:
            self._wait(_PAUSE)
        self._end(KILL_SECONDS, spare=False)


def main(argv: Sequence[str], variables: Mapping[str, str]) -> int:
    """Keep the harness that `argv` starts; return its exit code. If a signal ended it, end by the same one."""
    code = Keeper(argv, variables).run()
    if code < 0:
        with contextlib.suppress(OSError, AttributeError):  # a dump of the keeper helps nobody
            ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
        with contextlib.suppress(OSError, ValueError):  # KILL has no other disposition
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code if code >= 0 else 128 - code


def own_words() -> tuple[str, ...]:
    """Return the words that started this process."""
    return (sys.executable, *sys.orig_argv[1:])


def _say(text: str) -> None:
    """Write a line to the container's log, as the harness does."""
    now = time.time()
    line = f"{time.strftime('%T', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z WARNING {text}\n"
    with contextlib.suppress(OSError):
        os.write(1, line.encode())
