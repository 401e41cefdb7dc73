"""Hostility: what an agent, and a person who pushes, may try at any moment. Each act is one function.

Everything goes over the hostile agent's own sockets and its push repo, as its sandbox would allow.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import BadInput, HiveError
from meta.names import AgentName
from tests.soak.agents import HOSTILE
from tests.support.lab import Lab

NAME = AgentName(HOSTILE)
HELD_MOST = 60
"""Connections that are held open at the same time."""
PUSH_BYTES = 128 * 1024
HALF = b'{"cmd":"send","to":"alice","body":"'


@dataclass
class Hostility:
    """The acts of one run. `done` counts them."""

    lab: Lab
    choices: random.Random
    done: Counter[str] = field(default_factory=Counter)
    held: list[socket.socket] = field(default_factory=list)

    def run(self, closing: threading.Event) -> None:
        """Do one act after the other until `closing`."""
        while not closing.wait(self.choices.uniform(0, 0.3)):
            act = self.choices.choice(ACTS)
            try:
                act(self)
                self.done[act.__name__] += 1
            except BadInput:
                raise  # the soak's own mistake
            except (OSError, ValueError, HiveError, subprocess.SubprocessError) as error:
                self.done[f"{act.__name__}, cut short by {type(error).__name__}"] += 1
            while len(self.held) > HELD_MOST:
                self.held.pop(self.choices.randrange(len(self.held))).close()
        for sock in self.held:
            sock.close()

    def connect(self, path: Path) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        self.held.append(sock)
        sock.settimeout(2)
        sock.connect(str(path))
        return sock

    def sockets(self) -> list[Path]:
        layout = self.lab.layout
        return [layout.mcp_socket(NAME), layout.harness_socket(NAME), layout.agent_http_socket(NAME)]


def stray_connections(hostile: Hostility) -> None:
    """Connect to any socket, and say nothing."""
    for _ in range(hostile.choices.randint(1, 20)):
        hostile.connect(hostile.choices.choice(hostile.sockets()))


def half_line(hostile: Hostility) -> None:
    sock = hostile.connect(hostile.choices.choice(hostile.sockets()))
    sock.sendall(HALF + b"x" * hostile.choices.randint(0, 2**20))


def huge_line(hostile: Hostility) -> None:
    """A line over the limit, perhaps with an end."""
    sock = hostile.connect(hostile.lab.layout.mcp_socket(NAME))
    sock.sendall(HALF + b"x" * (9 * 2**20) + hostile.choices.choice([b"", b'"}\n']))


def flood_of_sends(hostile: Hostility) -> None:
    """Sends ahead of their answers, to one agent or to all, perhaps without reading an answer."""
    sock = hostile.connect(hostile.lab.layout.mcp_socket(NAME))
    size = hostile.choices.choice([1, 100, 10_000])
    request = {"cmd": "send", "to": hostile.choices.choice(["alice", "bob", "operator", "*"]), "body": "f" * size}
    sock.sendall((json.dumps(request).encode() + b"\n") * hostile.choices.randint(1, 200))
    if hostile.choices.random() < 0.5:
        sock.recv(4096)


def answers_that_are_not_read(hostile: Hostility) -> None:
    sock = hostile.connect(hostile.lab.layout.mcp_socket(NAME))
    sock.sendall(b'{"cmd":"recent","limit":1000}\n' * 500)


def junk(hostile: Hostility) -> None:
    """Lines that mean nothing, on any socket."""
    sock = hostile.connect(hostile.choices.choice(hostile.sockets()))
    lines = [hostile.choices.randbytes(hostile.choices.randint(0, 2000)), b"[" * 5000, b'{"cmd":"approve"}', b"\0"]
    for _ in range(hostile.choices.randint(1, 50)):
        sock.sendall(hostile.choices.choice(lines) + b"\n")


def forged_hello(hostile: Hostility) -> None:
    """A hello of a launch that is none, and states in the name of the harness."""
    sock = hostile.connect(hostile.lab.layout.harness_socket(NAME))
    hello = {"up": "hello", "generation": "0" * 20, "nonce": "forged", "state": "idle"}
    sock.sendall(json.dumps(hello).encode() + b"\n" + b'{"up":"state","state":"drained"}\n' * 20)


def junk_branch(hostile: Hostility) -> None:
    """Force-push a branch that has nothing to do with the last one; the operator denies what became of it."""
    lab, clone = hostile.lab, hostile.lab.directory / "junk"
    if not (clone / ".git" / "HEAD").exists():
        shutil.rmtree(clone, ignore_errors=True)
        lab.git(lab.directory, "clone", "-q", "-b", "main", str(lab.applied(HOSTILE)), str(clone))
    (clone / ".git" / "index.lock").unlink(missing_ok=True)
    lab.git(clone, "checkout", "-q", "-f", "--detach", "origin/main")
    (clone / "junk").write_bytes(hostile.choices.randbytes(hostile.choices.randint(1, PUSH_BYTES)))
    lab.git(clone, "add", "junk")
    lab.git(clone, "commit", "-q", "-m", "junk \x1b[2J")
    where = lab.layout.push_repo(NAME)
    lab.git(clone, "push", "-q", "-f", str(where), f"HEAD:refs/heads/junk-{hostile.choices.randint(0, 3)}")
    for card in lab.get("/api/proposals", agent=HOSTILE):
        lab.post(f"/api/proposals/{card['id']}/deny?agent={HOSTILE}", reason="junk")


ACTS: tuple[Callable[[Hostility], None], ...] = (
    stray_connections,
    half_line,
    huge_line,
    flood_of_sends,
    answers_that_are_not_read,
    junk,
    forged_hello,
    junk_branch,
)
