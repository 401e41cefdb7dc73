"""Run a program in the foreground: an editor on the operator's terminal, or a shell on a terminal of its own.

A program in an agent's container never gets the operator's terminal: on it the program could read what is typed later,
or type by itself. It gets a new pseudo-terminal, and hive copies the bytes. Files and pipes are passed on as they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import NoReturn

from meta.errors import PermanentError

CHUNK = 65_536
_LAST_SECONDS = 0.2
"""Seconds in which output is still copied after the program's end. A child of it may keep the terminal open."""


def foreground(argv: Sequence[str]) -> int:
    """Run `argv` on this terminal until it ends, and return its exit code."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pid = os.posix_spawnp(argv[0], list(argv), os.environ, setsigdef=[signal.SIGINT])
        return _code(os.waitpid(pid, 0)[1])
    except OSError as error:
        raise PermanentError(f"cannot run {argv[0]}: {error.strerror}", "set VISUAL or EDITOR") from error
    finally:
        signal.signal(signal.SIGINT, before)


def run_on_own_terminal(
    argv: Sequence[str], env: Mapping[str, str], groups: Sequence[str] = (), enter: Callable[[], None] | None = None
) -> int:
    """Run `argv` in a session of its own, in the cgroups of `groups` (cgroup.procs files), and return its exit code.

    The new process first calls `enter`, to move it and its children into namespaces.

    The new terminal does not become a controlling terminal here: a shell in another pid namespace needs a session in
    that namespace.
    """
    terminals = [fd for fd in (0, 1, 2) if os.isatty(fd)]
    ours, theirs = os.openpty() if terminals else (-1, -1)
    if terminals:
        _copy_size(terminals[0], ours)
    pid = os.fork()
    if pid == 0:
        _child(argv, env, groups, theirs, terminals, enter)
    if terminals:
        os.close(theirs)
        try:
            _copy(pid, ours, terminals)
        finally:
            os.close(ours)
    return _code(os.waitpid(pid, 0)[1])


def _child(
    argv: Sequence[str],
    env: Mapping[str, str],
    groups: Sequence[str],
    terminal: int,
    replaced: Sequence[int],
    enter: Callable[[], None] | None,
) -> NoReturn:
    try:
        os.setsid()
        if terminal >= 0:
            for fd in replaced:
                os.dup2(terminal, fd)
        for path in groups:
            with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as procs:  # noqa: PTH123
                procs.write("0")
        if enter is not None:
            enter()
            inside = os.fork()
            if inside:
                os._exit(_code(os.waitpid(inside, 0)[1]))
        os.closerange(3, 1 << 20)
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - an argument list, and no shell
    except OSError as error:
        os.write(2, f"hive: cannot run {argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(126)


def _copy(pid: int, master: int, terminals: Sequence[int]) -> None:
    """Copy between the operator's terminal and the program's, until the program has ended."""
    end = os.pidfd_open(pid)
    reads = {master, end, *({0} & set(terminals))}
    out = next((fd for fd in (1, 2) if fd in terminals), None)
    with _raw(0 in terminals), _sizes(terminals[0], master):
        ended = False
        while True:
            ready, _, _ = select.select(reads, (), (), _LAST_SECONDS if ended else None)
            if master in ready:
                data = _read(master)
                if not data:
                    break
                if out is not None:
                    _write(out, data)
            elif ended:
                break
            if end in ready:
                ended = True
                reads = {master}
            elif 0 in ready:
                data = _read(0)
                if data:
                    _write(master, data)
                else:
                    reads.discard(0)
    os.close(end)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError:  # the other side of the terminal is closed
        return b""


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _raw(on: bool) -> Iterator[None]:
    if not on:
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # keep what was typed ahead
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _sizes(terminal: int, master: int) -> Iterator[None]:
    def changed(_number: int, _frame: FrameType | None) -> None:
        _copy_size(terminal, master)

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy_size(of: int, to: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(to, termios.TIOCSWINSZ, fcntl.ioctl(of, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0)))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
