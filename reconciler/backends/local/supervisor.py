"""One small process per run of an agent. It outlives the daemon and records the end of the run.

    python -I -S supervisor.py SPEC [READY]

Output comes at the pace of a token bucket: an agent that writes more waits, and the log reports it.

A script that imports only the standard library and nothing of hive, so that it starts in about 20 ms and an upgrade of
hive never changes a running one. SPEC is a JSON file (see `Spec`). It writes one line into READY, a named pipe that the
starter reads: `ok` once the run is recorded and its program was executed (if that failed, the run has an exit like any
other), `busy` if another supervisor holds the lock.

    fork -> child waits at a gate -> run.json is on disk -> gate opens -> exec        (every run is recorded)
    child ends -> all its descendants are ended and reaped -> exit.json is on disk -> the supervisor exits

SIGTERM or SIGINT: TERM to the agent, KILL after the spec's grace. SIGQUIT: KILL now. If the supervisor is killed, the
kernel kills the child (PR_SET_PDEATHSIG) and the run ends without an exit.json: a lost exit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypedDict

    class Spec(TypedDict):
        """The program to run, and its rights. `uid`: change to it before the exec. It is None for a sandbox, which does
        that itself.

        `sandboxed`: argv is bubblewrap with a pid namespace: child -> its pid 1 -> the agent.
        `cgroups`: cgroup.procs files to join. `rlimits`: soft = hard, by name ("nofile"). `log_limit` in bytes.
        `launch` is copied to run.json.
        """

        nonce: str
        launch: object
        argv: list[str]
        env: dict[str, str]
        cwd: str
        uid: int | None
        sandboxed: bool
        cgroups: list[str]
        rlimits: dict[str, int]
        lock: str
        run: str
        exit: str
        log: str
        log_limit: int
        grace: float


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
REAP_SECONDS = 10.0
"""How long descendants may take to end after KILL. One in an uninterruptible wait does not end."""
RATE = 256 * 1024
"""Bytes of output that are copied to the log in a second. The agent that writes more waits: its pipe is full."""
BURST = 4 * 2**20
"""Bytes that are copied at once after a quiet time."""
READ_COST = 512
"""A read costs as much as this many bytes at least: output of one byte at a time costs time of the processor."""
CHUNK = 65536
LAST_READS = 64
"""Reads of what is left in the pipe at the end: it holds 1 MiB at most."""
NOTE_SECONDS = 60.0
"""Between two lines in the log that report that the agent is slowed down."""
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_libc = ctypes.CDLL(None, use_errno=True)
_prctl, _syscall = _libc.prctl, _libc.syscall


def prctl(option: int, value: int) -> None:
    """Call prctl(2) with one number. Raise OSError on failure."""
    if _prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def join_keyring() -> None:
    """Take a new and empty session keyring. A kernel without keyrings, or a filter outside, leaves nothing to do."""
    number = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine)
    if number is not None and _syscall(ctypes.c_long(number), ctypes.c_ulong(1), ctypes.c_ulong(0)) == -1:
        error = ctypes.get_errno()
        if error not in (errno.ENOSYS, errno.EPERM):
            raise OSError(error, os.strerror(error))


def reset_signals() -> None:
    """Set the default disposition of every signal: by the kernel's own call for the two that glibc keeps (nptl(7))."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    call = {"x86_64": 13, "aarch64": 134}.get(os.uname().machine)
    default = ctypes.create_string_buffer(32)  # an empty struct sigaction
    if call is not None:
        for reserved in (32, 33):
            _syscall(ctypes.c_long(call), ctypes.c_ulong(reserved), default, None, ctypes.c_ulong(8))


def start_ticks(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot. With pid and boot id it identifies the process."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs 8 ms at every start
        return int(file.read().rpartition(b")")[2].split()[19])


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()


def children(pid: int) -> list[int]:
    """Return the direct children of a process (of its main thread). Return none if it has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def write_record(path: str, record: dict[str, object]) -> None:
    """Replace a JSON file atomically and durably."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, json.dumps(record).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)  # noqa: PTH104
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Log:
    """The agent's output: at most `limit` bytes in `path` and as many in `path.1`.

    `path.times` and `path.times.1`, of at most the same size, have lines of an inode, Unix seconds and an offset: from
    that offset on, the file was written at this time or later. There is at most one line a second.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.path, self.limit = path, limit
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o640)
        try:
            self.times = os.open(f"{self.path}.times", flags, 0o640)
        except OSError:
            os.close(fd)
            raise
        self.fd, self.timed = fd, 0.0
        self.inode, self.size = os.fstat(fd).st_ino, os.fstat(fd).st_size
        self.times_size = os.fstat(self.times).st_size

    def write(self, data: bytes) -> None:
        """Append. If the disk is full, output is lost, but the agent goes on."""
        with contextlib.suppress(OSError):
            if self.size and (self.size + len(data) > self.limit or self.times_size > self.limit):
                self._rotate()
            now = time.time()
            if not 0 <= now - self.timed < 1:  # the clock may be set back
                self.times_size += os.write(self.times, b"%d %.3f %d\n" % (self.inode, now, self.size))
                self.timed = now
            self.size += os.write(self.fd, data)

    def _rotate(self) -> None:
        """Rotate the log. Rotate its times first: a new log may get an inode that is in them."""
        for path in (self.path, f"{self.path}.times"):
            with contextlib.suppress(FileNotFoundError):  # deleted by hand
                os.rename(path, f"{path}.1")  # noqa: PTH104
        before = self.fd, self.times
        self._open()
        for fd in before:
            os.close(fd)


class Allowance:
    """A token bucket for the agent's output: the supervisor's work is not in the agent's control group."""

    def __init__(self) -> None:
        self.left, self.at = float(BURST), time.monotonic()

    def wait(self) -> float:
        """Return the seconds until output may be read again, 0.0 for now."""
        now = time.monotonic()
        self.left, self.at = min(BURST, self.left + (now - self.at) * RATE), now
        return 0.0 if self.left > 0 else (CHUNK - self.left) / RATE

    def spend(self, count: int) -> None:
        """Take what one read of `count` bytes costs."""
        self.left -= max(count, READ_COST)


class Supervisor:
    """One run, from the fork to its exit record."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.log = Log(spec["log"], spec["log_limit"])
        self.output, self._output_write = os.pipe()
        self.wake, self._wake_write = os.pipe()
        self.child = 0
        self.status: int | None = None
        self.kill_at: float | None = None
        self.allowance = Allowance()
        self.whole_line = True
        self.read_at, self.noted_at = 0.0, -NOTE_SECONDS

    def start(self) -> str:
        """Fork, record the run and open the gate. Return why the program could not be executed, or ""."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        os.set_blocking(self.wake, False)
        os.set_blocking(self._wake_write, False)
        for number in WATCHED:
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        gate_read, gate_write = os.pipe()
        fault_read, fault_write = os.pipe()
        supervisor = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            os.close(gate_write)
            run_child(self.spec, supervisor, gate_read, fault_write, self._output_write)
        for fd in (gate_read, fault_write, self._output_write):
            os.close(fd)
        self._record()
        os.write(gate_write, b"\n")
        os.close(gate_write)
        fault = b"".join(iter(lambda: os.read(fault_read, 4096), b"")).decode(errors="replace")
        os.close(fault_read)
        if fault:
            self.log.write(f"hive: {fault}\n".encode())
        return fault

    def _record(self) -> None:
        record: dict[str, object] = {
            "nonce": self.spec["nonce"],
            "launch": self.spec["launch"],
            "boot": boot_id(),
            "supervisor": {"pid": os.getpid(), "start": start_ticks(os.getpid())},
            "child": {"pid": self.child, "start": start_ticks(self.child)},
        }
        write_record(self.spec["run"], record)

    def wait(self) -> None:
        """Copy output to the log and handle signals until the child has ended."""
        reading = True
        while self.status is None:
            now = time.monotonic()
            watched = [self.wake, self.output] if reading and now >= self.read_at else [self.wake]
            ready = select.select(watched, [], [], self._timeout(now))[0]
            if self.output in ready:
                reading = self._copy_output()
                self._slow_down()
            if self.wake in ready:
                self._handle_signals(os.read(self.wake, 512))
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                self.kill_at = None
                self.kill()
            self._reap()

    def _timeout(self, now: float) -> float | None:
        """Return the seconds until something is due, None if nothing is."""
        due = [at for at in (self.kill_at, self.read_at if self.read_at > now else None) if at is not None]
        return max(0.0, min(due) - now) if due else None

    def _slow_down(self) -> None:
        """Set when output is read again. Until then it fills the pipe, and then its writer waits."""
        now, wait = time.monotonic(), self.allowance.wait()
        self.read_at = now + wait if wait else 0.0
        if wait and now - self.noted_at >= NOTE_SECONDS:
            self.noted_at = now
            note = b"hive: too much output: the program is slowed down to %d KiB a second\n" % (RATE // 1024)
            self.log.write(note if self.whole_line else b"\n" + note)
            self.whole_line = True

    def _copy_output(self) -> bool:
        data = os.read(self.output, CHUNK)
        self.log.write(data)
        self.allowance.spend(len(data))
        self.whole_line = data.endswith(b"\n") if data else self.whole_line
        return bool(data)

    def _handle_signals(self, numbers: bytes) -> None:
        if signal.SIGQUIT in numbers:
            self.kill()
        elif self.kill_at is None and (signal.SIGTERM in numbers or signal.SIGINT in numbers):
            self.kill_at = time.monotonic() + self.spec["grace"]
            self.terminate()

    def _reap(self) -> bool:
        """Reap the children that have ended. Return False if no child is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.child:
                    self.status = status
        except ChildProcessError:
            return False

    def terminate(self) -> None:
        """Send TERM to the agent.

        In a sandbox bubblewrap itself does not get TERM: its end would kill everything inside.
        """
        if not self.spec["sandboxed"]:
            signal_group(self.child, signal.SIGTERM)
            return
        inside = [pid for init in children(self.child) for pid in children(init)]
        for pid in inside or [self.child]:
            signal_process(pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send KILL to the agent and its process group."""
        signal_group(self.child, signal.SIGKILL)
        signal_process(self.child, signal.SIGKILL)

    def finish(self) -> None:
        """End the processes that the child left behind, copy its last output, write exit.json."""
        deadline = time.monotonic() + REAP_SECONDS
        while self._reap() and time.monotonic() < deadline:
            for pid in children(os.getpid()):
                signal_process(pid, signal.SIGKILL)
            select.select([self.wake], [], [], 0.05)
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 512)
        os.set_blocking(self.output, False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(LAST_READS):  # a descendant that does not end may still write
                if not self._copy_output():
                    break
        code, number = self._ending()
        record: dict[str, object] = {"nonce": self.spec["nonce"], "at": time.time(), "code": code, "signal": number}
        with contextlib.suppress(OSError):  # the container was deleted by hand, or the disk is full
            write_record(self.spec["exit"], record)

    def _ending(self) -> tuple[int | None, int | None]:
        code = os.waitstatus_to_exitcode(self.status or 0)
        if code < 0:
            return None, -code
        if (
            self.spec["sandboxed"] and 128 < code <= 128 + signal.SIGRTMAX
        ):  # bubblewrap reports a signal as a shell does
            return None, code - 128
        return code, None


def signal_process(pid: int, number: int) -> None:
    """Signal one process. Do nothing if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def signal_group(pid: int, number: int) -> None:
    """Signal the process group that `pid` leads, if it exists."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def run_child(spec: Spec, supervisor: int, gate: int, fault: int, output: int) -> NoReturn:
    """Wait at the gate, set limits and identity, execute. Runs in the forked child, and never returns."""
    try:
        signal.set_wakeup_fd(-1)
        reset_signals()
        join_keyring()
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor or not os.read(gate, 1):
            os._exit(125)
        for file in spec["cgroups"]:
            with open(file, "w", encoding="ascii") as procs:  # noqa: PTH123
                procs.write("0")
        for name, value in spec["rlimits"].items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
        if spec["uid"] is not None:
            os.setgroups([])
            os.setresgid(spec["uid"], spec["uid"], spec["uid"])
            os.setresuid(spec["uid"], spec["uid"], spec["uid"])
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # changing the uid clears it
        os.umask(0o022)
        os.chdir(spec["cwd"])
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(fd, target, inheritable=True)
        execute(spec["argv"], spec["env"])
    except (OSError, ValueError, AttributeError) as error:
        os.write(fault, f"cannot run {spec['argv'][0]}: {error}".encode())
    finally:
        os._exit(126)


def execute(argv: list[str], env: dict[str, str]) -> None:
    """Execute a program. A script for a bare Python, such as the launcher, runs in this one, 30 ms sooner."""
    if argv[:3] != [sys.executable, "-I", "-S"]:
        os.execvpe(argv[0], argv, env)  # noqa: S606 - an argument list, and no shell
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv[3:]
    with open(argv[3], "rb") as script:  # noqa: PTH123
        code = compile(script.read(), argv[3], "exec")
    exec(code, {"__name__": "__main__"})  # noqa: S102 - a file of hive's own, named by the daemon


def report(ready: str | None, line: str) -> None:
    """Write one line to the starter. Do nothing if the starter does not read any more."""
    if ready is not None:
        with contextlib.suppress(OSError):
            fd = os.open(ready, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            os.write(fd, f"{line}\n".encode())
            os.close(fd)


def main(path: str, ready: str | None) -> int:
    """Run one spec to its end. Return 0 if the end was recorded, 75 if another supervisor holds the lock."""
    with contextlib.suppress(PermissionError):  # the starter has made the session already
        os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        spec: Spec = json.load(file)
    lock = os.open(spec["lock"], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(ready, "busy")
        return 75
    supervisor = Supervisor(spec)
    supervisor.start()
    report(ready, "ok")
    supervisor.wait()
    supervisor.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
