"""Tools of every day through the way out, in a network namespace with nothing but loopback and the harness's relay.

The upstream has TLS and a certificate of the tests' own authority, so each row names the variable by which its tool
trusts another one; all else is the environment that the harness gives. A tool that is not here is named as skipped.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta.network.variables import CA, PORT, proxy_variables
from meta.network.verdict import Verdict
from tests.support.egress import Egress, policy
from tests.support.net_namespaces import MISSING, PUBLIC, NetNamespace, own_internet, possible
from tests.support.own_ca import ca_file
from tests.support.upstream import Upstream

HOST = "tools.example"
OTHER = "other.example"
RELAY = """
import asyncio, sys
from pathlib import Path
from harness.relay.egress import egress_relay

async def main():
    async with egress_relay(Path(sys.argv[1]), port=int(sys.argv[2])):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Tool:
    """A command line with `{host}`, and what it shows if the host is refused.

    `make test` tries a tool that it installs, `always`, and a `quick` one if it is there.
    """

    words: tuple[str, ...]
    shown: str
    always: bool = False
    quick: bool = False

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        """Return the mark of a test that `make test` leaves out, or none."""
        tried = self.always or (self.quick and shutil.which(self.words[0]) is not None)
        return [] if tried else [pytest.mark.full]


PHRASE = "other.example:443-is-not-on-the-list-of-alice"
NUMBER = "CONNECT tunnel failed, response 403"
PIP = ("-m", "pip", "download", "--retries=1", "--no-deps", "--no-cache-dir", "--disable-pip-version-check")
URLLIB = "import urllib.request as u; print(u.urlopen('https://{host}/file').read())"
NODE = "fetch('https://{host}/file').then(r => r.text()).catch(e => {{ console.log(e.cause); process.exit(1) }})"
TOOLS = {
    "curl": Tool(("curl", "-sS", "https://{host}/file"), NUMBER, always=True),
    "git": Tool(("git", "clone", "-q", "https://{host}/repo.git", "clone"), NUMBER, always=True),
    "pip": Tool((sys.executable, *PIP, "-i", "https://{host}/simple/", "made"), PHRASE, always=True),
    "urllib": Tool((sys.executable, "-c", URLLIB), PHRASE, always=True),
    "httpx": Tool((sys.executable, "-c", "import httpx; httpx.get('https://{host}/file')"), PHRASE),
    "wget": Tool(
        ("wget", "-nv", "-O-", "--tries=1", "--ca-certificate={ca}", "https://{host}/file"), PHRASE, quick=True
    ),
    "npm": Tool(("npm", "pack", "--registry=https://{host}/npm/", "--cache={folder}/npm", "made"), PHRASE, quick=True),
    "node": Tool(("node", "-e", NODE), "Request was cancelled"),
    "cargo": Tool(
        ("cargo", "fetch", "--config=net.retry=0", "--manifest-path={folder}/{host}/Cargo.toml"), NUMBER, quick=True
    ),
    "nix": Tool(("nix-prefetch-url", "--option", "download-attempts", "1", "https://{host}/file"), "(56)", quick=True),
    "apt": Tool(("apt-get", "-q", "-c", "{folder}/{host}/apt.conf", "update"), PHRASE, quick=True),
    "uv": Tool(
        ("uv", "pip", "install", "--target={folder}/uv", "--index-url=https://{host}/simple/", "made"), "tunnel error"
    ),
    "go": Tool(("go", "mod", "download", "{host}/made@v0.1.0"), PHRASE),
}


@dataclass(frozen=True)
class Place:
    """A namespace with the relay in it, and a folder."""

    egress: Egress
    inside: NetNamespace
    folder: Path

    def run(self, tool: Tool, host: str) -> subprocess.CompletedProcess[str]:
        """Run a tool there for a host."""
        fill = {"host": host, "folder": str(self.folder), "ca": str(ca_file())}
        argv = self.inside.command([word.format_map(fill) for word in tool.words])
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GOPROXY": f"https://{host}/go",
            "GONOSUMDB": "*",
            "UV_NO_CONFIG": "1",
            **dict.fromkeys(CA, str(ca_file())),
            **proxy_variables(PORT, ("hive-harness",)),
        }
        folder = self.folder / f"in-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return subprocess.run(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40
        )


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    if not possible():
        pytest.skip(MISSING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hive-t-", dir="/tmp")))
        host, internet = stack.enter_context(own_internet())
        inside = stack.enter_context(closing(NetNamespace()))
        inside.configure("link set lo up")
        upstream = stack.enter_context(Upstream())
        upstream.files.update(files(folder))
        listener = internet.call(lambda: socket.create_server((PUBLIC, 443)))
        upstream.https(listener, HOST, OTHER)
        hosts = f'[hosts]\n"{HOST}" = "{PUBLIC}"\n"{OTHER}" = "{PUBLIC}"\n'
        egress = stack.enter_context(Egress(folder, hosts, prefix=host.command([])))
        egress.push(alice=policy(HOST))
        words = [sys.executable, "-c", RELAY, str(egress.socket("alice").parent), str(PORT)]
        relay = stack.enter_context(subprocess.Popen(inside.command(words), stdout=subprocess.PIPE))
        stack.callback(relay.terminate)
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"ready\n"
        yield Place(egress, inside, folder)


@pytest.mark.parametrize("name", [pytest.param(name, marks=tool.marks) for name, tool in TOOLS.items()])
def test_a_tool_reaches_what_is_listed_and_shows_what_is_not(place: Place, name: str) -> None:
    tool = TOOLS[name]
    if shutil.which(tool.words[0]) is None:
        pytest.skip(f"{tool.words[0]} is not installed")
    if name == "node" and not node_has_proxies():
        pytest.skip("node reads the variables of a proxy from 22.21 on")
    allowed = place.run(tool, HOST)
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    before = dict(place.egress.agent().verdicts)
    refused = place.run(tool, OTHER)
    assert tool.shown in refused.stdout + refused.stderr
    assert dict(place.egress.agent().verdicts)[Verdict.NOT_LISTED] > before.get(Verdict.NOT_LISTED, 0)


def node_has_proxies() -> bool:
    """Return True if this node's fetch reads the variables of a proxy."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip("v\n").split(".")
    return tuple(map(int, version)) >= (22, 21, 0)


def files(folder: Path) -> dict[str, bytes]:
    """Return what the upstream has, and write what the tools need into the folder."""
    for host in (HOST, OTHER):
        (folder / host / "src").mkdir(parents=True)
        (folder / host / "src/lib.rs").touch()
        (folder / host / "Cargo.toml").write_text(CARGO.format(host=host), encoding="ascii")
        (folder / host / ".cargo").mkdir()
        (folder / host / "list").write_text(f"deb [trusted=yes] https://{host}/apt ./\n", encoding="ascii")
        (folder / host / "apt.conf").write_text(APT.format(folder=folder / host, ca=ca_file()), encoding="ascii")
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (folder / host / name).mkdir(parents=True)
    return {
        "/file": b"the file\n",
        **repo(folder),
        **wheel(),
        **package(),
        **crate(),
        "/apt/./Packages": b"",
        **module(),
    }


APT = """Dir::Etc::SourceList "{folder}/list";
Dir::Etc::SourceParts "{folder}/parts";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
Acquire::https::CAInfo "{ca}";
Acquire::Retries "0";
APT::Update::Error-Mode "any";
"""
CARGO = """[package]
name = "user"
version = "0.1.0"
edition = "2021"
[dependencies]
made = {{ version = "0.1.0", registry-index = "sparse+https://{host}/crates/" }}
"""


def repo(folder: Path) -> dict[str, bytes]:
    """Return the files of a git repo that any web server may serve."""
    work = folder / "work"
    git = ["git", "-C", str(work), "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (
        ["git", "init", "-q", str(work)],
        [*git, "commit", "-q", "--allow-empty", "-m", "x"],
        [*git, "update-server-info"],
    ):
        subprocess.run(words, check=True, capture_output=True)
    top = work / ".git"
    return {f"/repo.git/{path.relative_to(top)}": path.read_bytes() for path in top.rglob("*") if path.is_file()}


def wheel() -> dict[str, bytes]:
    """Return an index of Python packages with one wheel."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("made.py", "")
        archive.writestr("made-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made\nVersion: 0.1.0\n")
        archive.writestr("made-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n")
        archive.writestr("made-0.1.0.dist-info/RECORD", "")
    name = "made-0.1.0-py3-none-any.whl"
    page = f'<!doctype html><a href="../../{name}">{name}</a>'.encode()
    return {"/simple/made/": page, f"/{name}": data.getvalue()}


def package() -> dict[str, bytes]:
    """Return a registry of npm with one package."""
    data = tarred({"package/package.json": json.dumps({"name": "made", "version": "0.1.0"})})
    dist = {
        "tarball": f"https://{HOST}/npm/made.tgz",
        "integrity": f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}",
    }
    version = {"name": "made", "version": "0.1.0", "dist": dist}
    document = {"name": "made", "dist-tags": {"latest": "0.1.0"}, "versions": {"0.1.0": version}}
    return {"/npm/made": json.dumps(document).encode(), "/npm/made.tgz": data}


def crate() -> dict[str, bytes]:
    """Return a registry of cargo with one crate."""
    manifest = '[package]\nname = "made"\nversion = "0.1.0"\nedition = "2021"\n'
    data = tarred({"made-0.1.0/Cargo.toml": manifest, "made-0.1.0/src/lib.rs": ""})
    checksum = hashlib.sha256(data).hexdigest()
    line = {"name": "made", "vers": "0.1.0", "deps": [], "cksum": checksum, "features": {}, "yanked": False}
    return {
        "/crates/config.json": json.dumps({"dl": f"https://{HOST}/crate"}).encode(),
        "/crates/ma/de/made": json.dumps(line).encode() + b"\n",
        "/crate/made/0.1.0/download": data,
    }


def module() -> dict[str, bytes]:
    """Return a proxy of go with one module."""
    name = f"{HOST}/made"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{name}@v0.1.0/go.mod", f"module {name}\n")
    start = f"/go/{name}/@v/v0.1.0"
    return {
        f"{start}.info": b'{"Version": "v0.1.0"}',
        f"{start}.mod": f"module {name}\n".encode(),
        f"{start}.zip": data.getvalue(),
    }


def tarred(files: dict[str, str]) -> bytes:
    """Return a compressed archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()
