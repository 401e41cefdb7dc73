"""A real daemon as its own process, started in milliseconds: forked from a server that has imported everything.

`Lab` is one state directory with at most one daemon. Its requests go over the real sockets; waiting is on events
(readiness datagram, end of the process, `/api/wait`), never on a clock.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from typing_extensions import Unpack

from api.cli import main as cli
from api.cli.client.http import Client
from api.cli.client.paths import Where
from meta.layout import Layout
from meta.names import AgentName
from reconciler.backends.local.backend import Command
from tests.support.lab_daemon import TINY as TINY
from tests.support.lab_daemon import Serving, command_for, serve_here, tiny_command

T = TypeVar("T")
WAIT = 30.0
"""Seconds that anything here may take."""
TICK = 0.2
"""Seconds between two looks when no event comes: not everything that can be waited for has one."""
QUICK = {
    "HIVE_HEALTH_DEADLINE": "2",
    "HIVE_HEALTH_STABLE": "0.03",
    "HIVE_CRASH_BACKOFF": "0.05",
    "HIVE_CRASH_RESET": "600",
    "HIVE_DRAIN_DEADLINE": "0.5",
    "HIVE_STOP_GRACE": "0.5",
    "HIVE_RECONNECT_GRACE": "0.5",
    "HIVE_RESYNC": "0.5",
    "HIVE_RETRY_BACKOFF": "0.05",
}
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["api.daemon.serve", "api.http.app", "reconciler.daemon.daemon", "uvicorn.protocols.http.h11_impl"]
)


@dataclass(frozen=True)
class Said:
    """What a `hive` command did."""

    code: int
    out: str
    err: str


class Lab:
    """One hive. `directory` must be short: unix socket paths end at 107 bytes.

    `tiny` runs the tiny harness instead of the real one, but where agent.toml has a [start] table if `faults` is set.
    Without `nix` it is a host that has none, which is faster. With `previews` builder `plain` previews as `nix` does.
    """

    def __init__(
        self,
        directory: Path,
        settings: dict[str, str] | None = None,
        *,
        tiny: bool = True,
        faults: bool = False,
        nix: bool = False,
        backend: str = "local",
        builder: str = "plain",
        previews: bool = False,
    ) -> None:
        self.layout = Layout(directory / "s", directory / "r")
        self.directory = directory
        self.log = directory / "log"
        self.settings = {**QUICK, **(settings or {})}
        self.tiny = tiny
        self.faults = faults
        self.nix = nix
        self.backend = backend
        self.builder = builder
        self.previews = previews
        self._process: ForkServerProcess | None = None

    # the daemon
    def start(self, failpoint: str = "", *, expect_ready: bool = True) -> bool:
        """Start a daemon; True once it is ready, False when it died first."""
        directory = self.directory
        address = directory / "notify"
        address.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "NOTIFY_SOCKET": str(address),
            **self.settings,
        }
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(address))
            process = _CONTEXT.Process(
                target=serve_here,
                args=(self._serving(environment, failpoint),),
                daemon=True,  # a test that ends early must not leave pytest waiting for it
            )
            process.start()
            self._process = process
            first = wait([ready, process.sentinel], WAIT)
            alive = ready in first
        if expect_ready and not alive:
            raise AssertionError(f"the daemon ended with {process.exitcode}\n{self.tail()}")
        return alive

    def _serving(self, environment: dict[str, str], failpoint: str) -> Serving:
        return Serving(
            self.directory,
            environment,
            failpoint,
            backend=self.backend,
            builder=self.builder,
            nix=self.nix,
            previews=self.previews,
            command=self._command(),
        )

    def _command(self) -> Command | None:
        """What runs inside; None is the backend's own."""
        if self.faults:
            return partial(command_for, self.layout)
        return tiny_command if self.tiny else None

    def arm(self, failpoint: str) -> None:
        """From now on the daemon dies at `failpoint`; returns once it knows."""
        (self.directory / "failpoint").write_text(failpoint, encoding="ascii")
        address = self.directory / "armed"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as armed:
            armed.bind(str(address))
            armed.settimeout(WAIT)
            os.kill(self.pid, signal.SIGUSR2)
            armed.recv(16)

    def died(self) -> int:
        """Wait until the daemon has ended; its exit code (negative: the signal)."""
        process = self._process
        assert process is not None
        process.join(WAIT)
        assert process.exitcode is not None, f"the daemon lives on\n{self.tail()}"
        self._process = None
        return process.exitcode

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            if self._process.is_alive():
                os.kill(self.pid, signal.SIGKILL)
            self.died()

    def stop(self) -> int:
        """SIGTERM, in good order."""
        os.kill(self.pid, signal.SIGTERM)
        return self.died()

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])

    def check_pauses(self) -> None:
        """Fail if the loop of one of its daemons stood for longer than PAUSE (tests/support/lab_daemon.py)."""
        report = self.directory / "pauses"
        assert not report.exists(), f"the daemon's loop stood still\n{report.read_text(encoding='utf-8')}"

    def end_agents(self) -> None:
        """End every supervisor of this hive, by its records."""
        for record in self.layout.backend("local").glob("*/run.json"):
            pid = json.loads(record.read_text(encoding="utf-8"))["supervisor"]["pid"]
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(self.directory).encode() in command:
                signal.pidfd_send_signal(fd, signal.SIGTERM)
                select.select([fd], [], [], 10)
            os.close(fd)

    # requests
    def host(self, **request: object) -> dict[str, Any]:
        """One request on host.sock; the answer as it is."""
        with self.lines(self.layout.host_socket) as line:
            return line(request)

    def ask(self, agent: str, /, **request: object) -> dict[str, Any]:
        """One request on an agent's mcp.sock, as if from its container; the answer as it is."""
        with self.lines(self.layout.mcp_socket(AgentName(agent))) as line:
            return line(request)

    @contextlib.contextmanager
    def lines(self, path: Path) -> Iterator[Callable[[object], dict[str, Any]]]:
        """A connection to a socket: called with a request (bytes go as they are), it gives the next answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT)
            sock.connect(str(path))
            with sock.makefile("rb") as file:

                def line(request: object) -> dict[str, Any]:
                    sock.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
                    answer = file.readline()
                    if not answer:
                        raise ConnectionError("the daemon hung up")
                    return dict(json.loads(answer))

                yield line

    def hive(self, *words: str) -> Said:
        """A `hive` command, in this process."""
        out, err = io.StringIO(), io.StringIO()
        where = ["--state", str(self.layout.state), "--runtime", str(self.layout.runtime)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.execute([*words, *where])
        return Said(code, out.getvalue(), err.getvalue())

    def client(self) -> Client:
        """HTTP."""
        return Client(Where(self.layout.state, self.layout.runtime))

    def get(self, path: str, **query: str | float | None) -> Any:
        return self.client().get(path, query)

    def post(self, path: str, **body: object) -> Any:
        return self.client().post(path, body)

    def settle(self, agent: str | None = None) -> None:
        """Wait until nothing is left to do."""
        answer = self.get("/api/wait", agent=agent, timeout=WAIT / 2)
        assert answer["settled"], f"not settled: {self.get('/api/plan')}\n{self.tail()}"

    def until(self, look: Callable[[], T | None]) -> T:
        """Look at each event (and now and then) until there is something to see."""
        deadline = time.monotonic() + WAIT
        with self.client().events() as stream:
            while not (seen := look()):
                assert time.monotonic() < deadline, f"it never came: {self.get('/api/plan')}\n{self.tail()}"
                stream.next(TICK)
            return seen

    def agents(self) -> dict[str, dict[str, Any]]:
        """hive status, by agent."""
        return {row["agent"]: row for row in self.get("/api/status")["agents"]}

    def agent(self, name: str = "alice") -> dict[str, Any]:
        """Its row of hive status."""
        return self.agents()[name]

    def events(self, kind: str, agent: str | None = None) -> list[dict[str, Any]]:
        """The newest events of a kind, oldest first."""
        found = self.get("/api/events", follow=0, limit=1000)
        return [event for event in found if event["kind"] == kind and agent in (None, event["agent"])]

    def card(self, id: int, agent: str | None = None) -> dict[str, Any]:
        """A card."""
        return dict(self.get(f"/api/proposals/{id}", agent=agent))

    def inbox(self, agent: str) -> list[str]:
        """Every message that was ever sent to somebody, oldest first."""
        with contextlib.closing(sqlite3.connect(f"file:{self.layout.database}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT body FROM messages WHERE recipient = ? ORDER BY id", (agent,)).fetchall()
        return [str(body) for (body,) in rows]

    # what an operator does
    def spawn(self, *names: str) -> None:
        """Spawn agents; returns once they run."""
        for name in names:
            self.post(f"/api/agents/{name}/spawn")
        for name in names:
            self.settle(name)
            assert self.agent(name)["phase"] == "running", self.tail()

    def approve(self, id: int) -> dict[str, Any]:
        """Approve and wait for the end; the card."""
        agent = self.post(f"/api/proposals/{id}/approve")["agent"]
        self.settle(agent)
        return self.card(id, agent)

    def deploy(self, text: str, agent: str = "alice") -> dict[str, Any]:
        """Commit `text` as agent.toml, propose, approve, wait; the card."""
        return self.approve(self.propose(text, agent))

    def do(self, agent: str, verb: str, **body: object) -> None:
        """start, stop, restart, rebuild or destroy an agent; returns once that is done."""
        self.post(f"/api/agents/{agent}/{verb}", **body)
        self.settle(agent)

    def applied(self, agent: str = "alice") -> Path:
        return self.layout.applied_git(AgentName(agent))

    # git, as a person with a clone
    def git(self, repo: Path, *words: str) -> str:
        """A git command; its output."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "p",
            "GIT_AUTHOR_EMAIL": "p@p",
            "GIT_COMMITTER_NAME": "p",
            "GIT_COMMITTER_EMAIL": "p@p",
        }
        done = subprocess.run(
            ["git", "-C", str(repo), *words], env=environment, capture_output=True, text=True, timeout=WAIT, check=True
        )
        return done.stdout.strip()

    def commit(self, text: str, agent: str = "alice") -> Path:
        """Commit `text` as agent.toml on top of applied/main in a clone of one's own; the clone."""
        clone = self.directory / "w" / agent
        if not clone.exists():
            clone.parent.mkdir(exist_ok=True)
            self.git(self.directory, "clone", "-q", "-b", "main", str(self.applied(agent)), str(clone))
        else:
            self.git(clone, "fetch", "-q", "origin")
            self.git(clone, "reset", "-q", "--hard", "origin/main")
        (clone / "agent.toml").write_text(text, encoding="utf-8")
        self.git(clone, "commit", "-q", "-a", "--allow-empty", "-m", "change")
        return clone

    def propose(self, text: str, agent: str = "alice") -> int:
        """Commit and propose; the id."""
        return int(self.post("/api/proposals", agent=agent, source=str(self.commit(text, agent)))["id"])

    def tags(self, agent: str = "alice") -> set[str]:
        """The tags of the agent's applied repo."""
        return set(self.git(self.applied(agent), "tag").split()) if self.applied(agent).exists() else set()

    def told(self, tag: str, agent: str = "alice") -> str:
        """The message of a tag."""
        return self.git(self.applied(agent), "tag", "-l", "--format=%(contents)", tag)

    def ref(self, name: str, agent: str = "alice") -> str:
        """The commit behind a ref of the agent's applied repo."""
        return self.git(self.applied(agent), "rev-parse", "--verify", f"{name}^{{commit}}")


class LabKind(TypedDict, total=False):
    """The keywords of Lab."""

    tiny: bool
    faults: bool
    nix: bool
    backend: str
    builder: str
    previews: bool


@contextlib.contextmanager
def fresh_lab(letter: str, settings: dict[str, str] | None = None, **kind: Unpack[LabKind]) -> Iterator[Lab]:
    """A hive of one's own whose manager runs; afterwards nothing of it is left. No nix: that takes half the time."""
    directory = Path(f"/tmp/hive-{os.getpid()}-{letter}")
    discard(directory)
    directory.mkdir(mode=0o755)
    lab = Lab(directory, settings, **kind)
    try:
        lab.start()
        lab.settle("manager")
        yield lab
        lab.check_pauses()
    finally:
        lab.kill()
        lab.end_agents()
        discard(directory)


def discard(directory: Path) -> None:
    """Remove a hive's directory, with the generations in it that nobody can write in."""
    for folder, _, _ in os.walk(directory):
        Path(folder).chmod(0o755)
    shutil.rmtree(directory, ignore_errors=not directory.exists())


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()
