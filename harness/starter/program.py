"""`hive-harness cli`: starts one CLI for the harness, under the uid that this program has, and ends with it.

systemd starts it for each connection to the starter's socket and kills its control group when it ends. So a descendant
of the CLI that left its process group, its session and its parent ends too.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from harness.starter.planned import CannotHold, Plan, planned
from harness.starter.wire import LINE_MOST, Json, Order, Wrong, decode, encode, receive_order
from meta.process.spawn import Started, spawn

CONNECTION = 3
"""The descriptor on which systemd passes a connection."""
KEPT = "CREDENTIALS_DIRECTORY"
"""The one variable of this program that the CLI gets: systemd gives each unit a folder of its own."""

_DUMPABLE = 4  # PR_SET_DUMPABLE


Task = Callable[[Order, list[int], int], None]
"""Does an order's task with the three streams, until the descriptor at the end can be read."""


def no_plan(_: Json) -> Json:
    """Refuse bounds: this starter cannot work out what to hold of them."""
    return {"refused": "this starter knows no bounds", "hint": ""}


def main(tasks: Mapping[str, Task] = MappingProxyType({}), plan: Plan = no_plan) -> int:
    """Serve the connection that systemd passed; return the exit code. `plan` is for orders with bounds."""
    try:
        with socket.socket(fileno=CONNECTION) as connection:
            connection.set_inheritable(False)
            connection.setblocking(True)
            return serve(connection, tasks, plan)
    except OSError as error:
        sys.stderr.write(f"hive-harness cli: {error}; systemd starts it, for a connection of the harness\n")
        return 2


def serve(connection: socket.socket, tasks: Mapping[str, Task], plan: Plan = no_plan) -> int:
    """Start what the harness orders, and report its end; return the exit code once the harness disconnects."""
    close_to_ptrace()
    try:
        order, fds = receive_order(connection)
    except (Wrong, OSError) as error:
        sys.stderr.write(f"hive-harness cli: no order: {error}\n")
        return 1
    try:
        if order.task:
            do = tasks[order.task]
            _send(connection, {"pid": os.getpid(), "cgroup": own_cgroup()})
            do(order, fds, connection.fileno())
            return 0
        process = _start(order, fds, plan)
    except CannotHold as error:
        _send(connection, error.report)
        return 0
    except KeyError:
        _send(connection, {"failed": "ENOSYS", "missing": False})
        return 0
    except OSError as error:
        _send(connection, {"failed": errno.errorcode.get(error.errno or 0, "EIO"), "missing": False})
        return 0
    except ValueError:
        _send(connection, {"failed": "EINVAL", "missing": False})
        return 0
    finally:
        for fd in fds:
            os.close(fd)
    if process is None:
        _send(connection, {"failed": "ENOENT", "missing": True})
        return 0
    try:
        _follow(connection, process)
    finally:
        _kill(process)
    return 0


def _start(order: Order, fds: list[int], plan: Plan) -> Started | None:
    """Start the CLI as the leader of a session of its own; None if there is no such program."""
    program = find(order.argv[0], order.env.get("PATH", os.defpath))
    if program is None:
        return None
    stdin, stdout, stderr = fds
    env = {**order.env, **_kept(os.environ)}
    argv = (program, *order.argv[1:])
    grants = None if order.bounds is None else planned(order.bounds, plan)
    return spawn(argv, env, order.cwd, (stdin, stdout, stderr), (), grants)


def find(program: str, path: str) -> str | None:
    """Return the program's full path, as shutil.which does; None if it is not on `path`."""
    folders = [""] if "/" in program else path.split(os.pathsep)
    for candidate in (os.path.join(folder, program) for folder in folders):  # noqa: PTH118
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):  # noqa: PTH113
            return candidate
    return None


def _kept(variables: Mapping[str, str]) -> dict[str, str]:
    return {KEPT: variables[KEPT]} if KEPT in variables else {}


def _follow(connection: socket.socket, process: Started) -> None:
    """Report the CLI's end and pass on signals, until the harness disconnects."""
    _send(connection, {"pid": process.pid, "cgroup": own_cgroup()})
    pidfd = os.pidfd_open(process.pid)
    watched, data = [connection.fileno(), pidfd], bytearray()
    try:
        while True:
            ready = select.select(watched, [], [])[0]
            if connection.fileno() in ready:
                part = connection.recv(LINE_MOST)
                if not part:
                    return
                data = _obey(data + part, process)
            if pidfd in ready:
                watched.remove(pidfd)
                # it is reaped only at the end: until then nobody else gets its number
                status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
                code = -signal.SIGKILL
                if status is not None:
                    code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
                _send(connection, {"code": int(code)})
    except OSError:
        return
    finally:
        os.close(pidfd)


def _obey(data: bytearray, process: Started) -> bytearray:
    """Send the signals of the complete lines, and return the rest."""
    *lines, rest = data.split(b"\n")
    for line in lines:
        with contextlib.suppress(Wrong, ValueError, OSError):
            os.kill(process.pid, signal.Signals(decode(bytes(line)).get("signal", 0)))
    return rest[-LINE_MOST:]


def _kill(process: Started) -> None:
    """Kill the CLI and its group. The rest is systemd's, at once after the end of this program."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _send(connection: socket.socket, value: Json) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(encode(value))


def own_cgroup() -> str:
    """Return the control group of this process, as /proc names it; "" if there is none of version 2."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::")), "")


def close_to_ptrace() -> None:
    """Keep the CLI, which has the same uid, from this process's memory and descriptors."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
