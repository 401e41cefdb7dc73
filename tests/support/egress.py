"""A real `hive-egress` for tests: started as its own process, its policy pushed over its control socket.

with Egress(directory) as egress:
    egress.push(alice=policy("api.example:443"))
    status, connection = connect(egress.socket("alice"), "api.example:443")
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from meta.names import AgentName
from meta.network.control import decode_report, encode_line
from meta.network.policy import AgentPolicy, Grant, Policy, encode_policy
from meta.network.report import AgentReport, Report
from meta.network.rule import parse_rule
from tests.support.own_ca import ca_file

WAIT = 20.0


def policy(
    *rules: str, grants: Mapping[str, float] | None = None, routes: Iterable[str] = (), held: str = ""
) -> AgentPolicy:
    """Return the policy of an agent. `grants` are rules with the time of their end."""
    until = tuple(Grant(parse_rule(rule), end) for rule, end in (grants or {}).items())
    return AgentPolicy(tuple(map(parse_rule, rules)), until, frozenset(routes), held)


class Egress:
    """The process. `prefix` are the words of a command line that runs another one, in a namespace for example."""

    def __init__(self, directory: Path, network: str = "", *, prefix: Sequence[str] = (), ceiling: str = "") -> None:
        self.sockets = directory / "egress"
        self.control = directory / "control.sock"
        self.state = directory / "egress-state"
        self.network = directory / "network.toml"
        self.log = directory / "egress.log"
        self.network.write_text(network, encoding="utf-8")
        self._prefix = prefix
        self._ceiling = ceiling
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self) -> None:
        """Start it. Return once its control socket answers."""
        self.sockets.mkdir(exist_ok=True)
        self.state.mkdir(exist_ok=True, mode=0o700)
        options = {
            "--sockets": self.sockets,
            "--control": self.control,
            "--state": self.state,
            "--network": self.network,
            "--revision": "tests",
        }
        words = [*self._prefix, sys.executable, "-m", "reconciler.egress"]
        words += [str(word) for option in options.items() for word in option]
        words += ["--ceiling", self._ceiling] if self._ceiling else []
        environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(ca_file())}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + WAIT
        while True:
            try:
                self.report()
            except OSError:
                assert self._process.poll() is None, self.log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, "hive-egress does not answer"
                time.sleep(0.01)
            else:
                return

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal."""
        if self._process is not None:
            os.kill(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(WAIT)
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """The process's id, also if a prefix runs it as its child."""
        assert self._process is not None
        return self._process.pid

    def socket(self, agent: str) -> Path:
        """Return the agent's socket."""
        return self.sockets / agent / "egress.sock"

    def push(self, **agents: AgentPolicy) -> None:
        """Push the policy of all agents. Return once it is obeyed and each agent has its socket."""
        for agent in agents:
            (self.sockets / agent).mkdir(exist_ok=True, mode=0o755)
        wanted = Policy(MappingProxyType({AgentName(name): value for name, value in agents.items()}))
        self.ask({"do": "set-policy", "policy": json.loads(encode_policy(wanted))})
        deadline = time.monotonic() + WAIT
        while not all(self.socket(agent).exists() for agent in agents):
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8")
            time.sleep(0.01)

    def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send one request to the control socket. Return its answer."""
        return ask(self.control, request)

    def report(self) -> Report:
        """Return the report."""
        return report_of(self.control)

    def agent(self, name: str = "alice") -> AgentReport:
        """Return an agent's part of the report."""
        return self.report().agents[name]

    def connections(self, agent: str = "alice") -> list[dict[str, Any]]:
        """Return the agent's connections."""
        return list(self.ask({"do": "connections", "agent": agent, "after": 0})["connections"])


def ask(control: Path, request: Mapping[str, object]) -> dict[str, Any]:
    """Send one request to a control socket. Return its answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WAIT)
        sock.connect(str(control))
        sock.sendall(encode_line(request))
        with sock.makefile("rb") as lines:
            answer = json.loads(lines.readline() or b'{"ok": false, "error": "no answer"}')
    assert answer["ok"], answer
    return dict(answer)


def report_of(control: Path) -> Report:
    """Return the report of the hive-egress at a control socket."""
    return decode_report(ask(control, {"do": "report"})["report"])


def request(path: Path, data: bytes) -> tuple[bytes, socket.socket]:
    """Send bytes to an agent's socket. Return the head of the answer, with what came behind it, and the connection."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(WAIT)
    sock.connect(str(path))
    sock.sendall(data)
    answer = b""
    while b"\r\n\r\n" not in answer and (more := sock.recv(65_536)):
        answer += more
    return answer, sock


def connect(path: Path, target: str) -> tuple[str, socket.socket]:
    """Ask for a tunnel. Return the status line without its version, and the connection."""
    answer, sock = request(path, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return answer.partition(b"\r\n")[0].decode("ascii").partition(" ")[2], sock
