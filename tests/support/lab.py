"""A real daemon as its own process, started in milliseconds: forked from a server that has imported everything.

`Lab` is one state directory with at most one daemon. Its requests go over the real sockets; it waits for events
(readiness datagram, end of the process, `/api/wait`), never for a time.
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
from reconciler.network.process import running
from tests.support.lab_daemon import TINY as TINY
from tests.support.lab_daemon import Serving, command_for, filling_command, serve_here, tiny_command

T = TypeVar("T")
WAIT = 30.0
"""Seconds that one wait may take."""
TICK = 0.2
"""Seconds between two looks if no event comes. Some conditions have no event."""
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
    "HIVE_EGRESS_START": "false",
}
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.support.lab_preload"])


@dataclass(frozen=True)
class Said:
    """The result of a `hive` command."""

    code: int
    out: str
    err: str


class Lab:
    """One hive. `directory` must be short: unix socket paths end at 107 bytes.

    `tiny` runs the tiny harness instead of the real one, or is the command that runs in its place. With `faults`, an
    agent.toml with a [start] table still gets the real one. With `filling`, an agent fills the disk once its /state
    has a file `fill`. Without `nix` the host has no nix, which is faster. With `previews` builder `plain` previews as
    `nix` does.
    """

    def __init__(
        self,
        directory: Path,
        settings: dict[str, str] | None = None,
        *,
        tiny: bool | Command = True,
        faults: bool = False,
        filling: bool = False,
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
        self.filling = filling
        self.nix = nix
        self.backend = backend
        self.builder = builder
        self.previews = previews
        self._process: ForkServerProcess | None = None

    # the daemon
    def start(self, failpoint: str = "", *, expect_ready: bool = True) -> bool:
        """Start a daemon. Return True once it is ready, False if it died first."""
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
            process = FORKSERVER.Process(
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
        """Return the command inside the containers. None is the backend's own."""
        if self.filling:
            return filling_command
        if self.faults:
            return partial(command_for, self.layout)
        return self.tiny if callable(self.tiny) else tiny_command if self.tiny else None

    def arm(self, failpoint: str) -> None:
        """Make the daemon die at `failpoint` from now on. Return once the daemon knows it."""
        (self.directory / "failpoint").write_text(failpoint, encoding="ascii")
        address = self.directory / "armed"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as armed:
            armed.bind(str(address))
            armed.settimeout(WAIT)
            os.kill(self.pid, signal.SIGUSR2)
            armed.recv(16)

    def died(self) -> int:
        """Wait until the daemon has ended. Return its exit code (negative: the signal)."""
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

    @property
    def has_daemon(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        """Send SIGKILL to the daemon."""
        if self._process is not None:
            if self._process.is_alive():
                os.kill(self.pid, signal.SIGKILL)
            self.died()

    def stop(self) -> int:
        """End the daemon in good order by SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)
        return self.died()

    def tail(self) -> str:
        """Return the end of the daemon's log."""
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

    def end_egress(self) -> None:
        """End the hive-egress that a daemon of this hive started."""
        for which, _ in running(self.layout.egress_state):
            fd = os.pidfd_open(which.pid)
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            select.select([fd], [], [], 10)
            os.close(fd)

    # requests
    def host(self, **request: object) -> dict[str, Any]:
        """Send one request to host.sock, and return the answer unchanged."""
        with self.lines(self.layout.host_socket) as line:
            return line(request)

    def ask(self, agent: str, /, **request: object) -> dict[str, Any]:
        """Send one request to an agent's mcp.sock, as if from its container, and return the answer unchanged."""
        with self.lines(self.layout.mcp_socket(AgentName(agent))) as line:
            return line(request)

    @contextlib.contextmanager
    def lines(self, path: Path) -> Iterator[Callable[[object], dict[str, Any]]]:
        """Return a connection to a socket.

        Call it with a request (bytes are sent unchanged); it returns the next answer.
        """
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
        """Run a `hive` command in this process."""
        out, err = io.StringIO(), io.StringIO()
        where = ["--state", str(self.layout.state), "--runtime", str(self.layout.runtime)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.execute([*words, *where])
        return Said(code, out.getvalue(), err.getvalue())

    def client(self) -> Client:
        """Return a client for the operator's HTTP."""
        return Client(Where(self.layout.state, self.layout.runtime))

    def get(self, path: str, **query: str | float | None) -> Any:
        return self.client().get(path, query)

    def post(self, path: str, **body: object) -> Any:
        return self.client().post(path, body)

    def settle(self, agent: str | None = None) -> None:
        """Wait until no work is left."""
        answer = self.get("/api/wait", agent=agent, timeout=WAIT / 2)
        assert answer["settled"], f"not settled: {self.get('/api/plan')}\n{self.tail()}"

    def until(self, look: Callable[[], T | None], seconds: float = WAIT) -> T:
        """Look after each event, and at intervals, until `look` returns a value."""
        deadline = time.monotonic() + seconds
        with self.client().events() as stream:
            while not (seen := look()):
                assert self._process is None or self._process.is_alive(), f"the daemon ended\n{self.tail()}"
                assert time.monotonic() < deadline, f"it never came: {self.get('/api/plan')}\n{self.tail()}"
                stream.next(TICK)
            return seen

    def agents(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `hive status` by agent."""
        return {row["agent"]: row for row in self.get("/api/status")["agents"]}

    def agent(self, name: str = "alice") -> dict[str, Any]:
        """Return the agent's row of `hive status`."""
        return self.agents()[name]

    def events(self, kind: str, agent: str | None = None) -> list[dict[str, Any]]:
        """Return the newest events of a kind, oldest first."""
        found = self.get("/api/events", follow=0, limit=1000)
        return [event for event in found if event["kind"] == kind and agent in (None, event["agent"])]

    def card(self, id: int, agent: str | None = None) -> dict[str, Any]:
        """Return a card."""
        return dict(self.get(f"/api/proposals/{id}", agent=agent))

    def inbox(self, agent: str) -> list[str]:
        """Return every message that was sent to `name`, oldest first."""
        with contextlib.closing(sqlite3.connect(f"file:{self.layout.database}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT body FROM messages WHERE recipient = ? ORDER BY id", (agent,)).fetchall()
        return [str(body) for (body,) in rows]

    # what an operator does
    def spawn(self, *names: str) -> None:
        """Spawn agents. Return once they run."""
        for name in names:
            self.post(f"/api/agents/{name}/spawn")
        for name in names:
            self.settle(name)
            assert self.agent(name)["phase"] == "running", self.tail()

    def approve(self, id: int, *, unseen: bool = False) -> dict[str, Any]:
        """Approve an id, wait for its end, and return its card."""
        agent = self.post(f"/api/proposals/{id}/approve", unseen=unseen)["agent"]
        self.settle(agent)
        return self.card(id, agent)

    def deploy(self, text: str, agent: str = "alice") -> dict[str, Any]:
        """Commit `text` as agent.toml, propose, approve, wait for the end, and return the card."""
        return self.approve(self.propose(text, agent))

    def do(self, agent: str, verb: str, **body: object) -> None:
        """Start, stop, restart, rebuild or destroy an agent. Return once that is done."""
        self.post(f"/api/agents/{agent}/{verb}", **body)
        self.settle(agent)

    def applied(self, agent: str = "alice") -> Path:
        return self.layout.applied_git(AgentName(agent))

    # git, as a person with a clone
    def git(self, repo: Path, *words: str) -> str:
        """Run a git command, and return its output. The error of one that fails tells what git wrote."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "p",
            "GIT_AUTHOR_EMAIL": "p@p",
            "GIT_COMMITTER_NAME": "p",
            "GIT_COMMITTER_EMAIL": "p@p",
        }
        argv = ["git", "-C", str(repo), *words]
        try:
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=WAIT, check=True)
        except subprocess.CalledProcessError as error:
            error.add_note(f"{error.stdout}{error.stderr}")
            raise
        return done.stdout.strip()

    def commit(self, text: str, agent: str = "alice") -> Path:
        """Commit `text` as agent.toml on top of applied/main in a new clone, and return the clone."""
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
        """Commit and propose, and return the id."""
        return int(self.post("/api/proposals", agent=agent, source=str(self.commit(text, agent)))["id"])

    def tags(self, agent: str = "alice") -> set[str]:
        """Return the tags of the agent's applied repo."""
        return set(self.git(self.applied(agent), "tag").split()) if self.applied(agent).exists() else set()

    def told(self, tag: str, agent: str = "alice") -> str:
        """Return the message of a tag."""
        return self.git(self.applied(agent), "tag", "-l", "--format=%(contents)", tag)

    def ref(self, name: str, agent: str = "alice") -> str:
        """Return the commit behind a ref of the agent's applied repo."""
        return self.git(self.applied(agent), "rev-parse", "--verify", f"{name}^{{commit}}")


class LabKind(TypedDict, total=False):
    """The keywords of Lab."""

    tiny: bool | Command
    faults: bool
    nix: bool
    backend: str
    builder: str
    previews: bool


@contextlib.contextmanager
def fresh_lab(letter: str, settings: dict[str, str] | None = None, **kind: Unpack[LabKind]) -> Iterator[Lab]:
    """Yield a separate hive whose manager runs, and remove it afterwards. It has no nix, which takes half the time."""
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
        if lab.settings["HIVE_EGRESS_START"] == "true":
            lab.end_egress()
        discard(directory)


def discard(directory: Path) -> None:
    """Remove a hive's directory, with the read-only generations in it."""
    for folder, _, _ in os.walk(directory):
        Path(folder).chmod(0o755)
    shutil.rmtree(directory, ignore_errors=not directory.exists())


def alive(pid: int) -> bool:
    """Return True if the process exists."""
    return Path(f"/proc/{pid}").exists()
