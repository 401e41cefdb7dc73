"""A real hive-egress on a host of its own, an internet with servers, and a process in alice's sandbox.

The host and the internet are network namespaces: nothing leaves the machine, and what is refused would answer.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pytest

from meta.network.verdict import Verdict
from meta.process import sandbox
from meta.process.sandbox import Sandbox
from tests.support import inside_prober
from tests.support.egress import Egress, policy
from tests.support.in_sandbox import PYTHON, UID
from tests.support.name_server import NameServer
from tests.support.net_namespaces import (
    HOST,
    INTERNET,
    METADATA,
    MISSING,
    PRIVATE,
    PUBLIC,
    PUBLIC_6,
    NetNamespace,
    own_internet,
    possible,
)
from tests.support.upstream import Upstream

NAMES = {
    "good.example": [PUBLIC],
    "six.example": [PUBLIC_6],
    "evil.example": [PUBLIC],
    "secret.evil.example": [PUBLIC],
    "api.wild.example": [PUBLIC],
    "wild.example": [PUBLIC],
    "ssh.example": [PUBLIC],
    "flip.example": [PUBLIC, PRIVATE],
    "private.example": [PRIVATE],
    "metadata.example": [METADATA],
    "loop.example": ["127.0.0.1"],
    "own.example": [HOST],
    "shared.example": ["100.64.0.9"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "sixto4.example": ["2002:7f00:1::"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "six-loop.example": ["::1"],
    "corp.example": [PRIVATE],
}
"""What the name server answers. The last two of a name that flips: first the one, then always the other."""

RULES = (
    "good.example",
    "six.example",
    "*.wild.example",
    "ssh.example:22",
    "flip.example",
    "private.example:*",
    "metadata.example",
    "loop.example:*",
    "own.example:*",
    "shared.example",
    "mapped.example",
    "sixto4.example",
    "nat64.example",
    "six-loop.example:*",
    "corp.example:443",
    "corp.example:80",
    f"{METADATA}:80",
    "127.0.0.1:8080",
)
"""What alice may reach by name. Much of it resolves to what no rule opens."""

KEY = "sk-ant-real-key-of-the-operator"
SERVICE = 8080
"""A port of a service on the host's loopback and on the host's own address."""


@dataclass(frozen=True)
class Inside:
    """The process in alice's sandbox."""

    words: IO[str]
    answers: IO[str]

    def run(self, code: str) -> object:
        """Run code there; return its `result`, or the name of its error."""
        self.words.write(json.dumps(code) + "\n")
        self.words.flush()
        return json.loads(self.answers.readline())

    def exchange(self, *parts: str, until: str = "") -> str:
        """Send each part on one connection of alice's way out; return what came, until `until` or a whole answer."""
        return str(self.run(f"result = exchange(*{parts!r}, until={until!r})"))


@dataclass(frozen=True)
class World:
    """The parts."""

    egress: Egress
    inside: Inside
    upstream: Upstream
    names: NameServer

    def verdicts(self) -> Counter[Verdict]:
        """Return how often alice got each verdict."""
        return Counter(dict(self.egress.agent("alice").verdicts))


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    if not possible():
        pytest.skip(MISSING)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hive-w-", dir="/tmp")))
        folder.chmod(0o755)
        host, internet = stack.enter_context(own_internet())
        upstream = stack.enter_context(Upstream())
        _serve(upstream, host, internet)
        udp = host.call(lambda: _datagrams("127.0.0.1", 53))
        names = stack.enter_context(NameServer(udp, NAMES))
        egress = stack.enter_context(Egress(folder, _network(folder), prefix=_resolving(host, folder)))
        egress.push(alice=policy(*RULES, routes=("anthropic",)), bob=policy("evil.example", routes=("bobs",)))
        stack.enter_context(host.call(lambda: _abstract("hive-secret")))
        yield World(egress, stack.enter_context(_inside(host, egress)), upstream, names)


def _serve(upstream: Upstream, host: NetNamespace, internet: NetNamespace) -> None:
    public = ("good.example", "evil.example", "*.wild.example", "flip.example", "api.example")
    for address in (*INTERNET, PUBLIC_6):
        upstream.https(internet.call(lambda: _listen(address, 443)), *public, name=f"https {address}")  # noqa: B023
        upstream.http(internet.call(lambda: _listen(address, 80)), name=f"http {address}")  # noqa: B023
    upstream.echo(internet.call(lambda: _listen(PUBLIC, 22)), b"SSH-2.0-upstream\r\n", name="ssh")
    for address in ("127.0.0.1", HOST, "::1"):
        upstream.http(host.call(lambda: _listen(address, SERVICE)), name=f"host {address}")  # noqa: B023


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=64)


def _datagrams(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    return sock


def _abstract(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0{name}")
    sock.listen()
    return sock


def _resolving(host: NetNamespace, folder: Path) -> list[str]:
    """Return the words that run a program in a namespace, with the name server there as its resolver."""
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("hosts", "127.0.0.1 localhost\n")):
        (folder / name).write_text(text, encoding="ascii")
    mounts = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && mount --bind {folder}/hosts /etc/hosts"
    return host.command(["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"])


def _network(folder: Path) -> str:
    for name, text in (("key", KEY), ("bobs-key", "sk-bobs")):
        (folder / name).write_text(f"{text}\n", encoding="ascii")
        (folder / name).chmod(0o600)
    return f"""
private = ["corp.example:443"]
[hosts]
"api.example" = "{PUBLIC}"
[credentials.anthropic]
file = "{folder}/key"
upstream = "https://api.example"
agents = ["alice"]
[credentials.bobs]
kind = "anthropic"
file = "{folder}/bobs-key"
upstream = "https://api.example"
agents = ["bob"]
"""


@contextlib.contextmanager
def _inside(host: NetNamespace, egress: Egress) -> Iterator[Inside]:
    text = Path(inside_prober.__file__).read_text(encoding="utf-8")
    box = Sandbox(read_only=((egress.socket("alice").parent, Path("/run/egress")),), uid=UID)
    here = sandbox.detect()
    command = sandbox.command(replace(box, uid=UID if here.root else None), [PYTHON, "-c", text], here)
    argv = host.command(command)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Inside(process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.terminate()
