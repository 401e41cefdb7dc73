"""Attempts to reach the nix of the host from inside a container: its daemon, its database, and what names its systems.

The start script of NixOS binds parts of /nix/var/nix into every container, and so does the one of this host. A nix
daemon has the host's network: it fetches what a client asks for. The stand-in for it here does that and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meta.names import MANAGER, AgentName
from tests.systemd.inside.attempts import DONE, inside, outside, snapshot, succeeded
from tests.systemd.inside.conftest import WHERE, NixosHost
from tests.systemd.inside.entered import USERS, enter
from tests.systemd.inside.surroundings import ALICE, SECRET

STATE = Path("/nix/var/nix")
DAEMON, DATABASE = STATE / "daemon-socket/socket", STATE / "db/db.sqlite"


@dataclass
class Outside:
    """A server on the loopback of the host, and the peers that it had."""

    port: int
    peers: list[str] = field(default_factory=list)


def serve(listener: socket.socket, one: threading.Event) -> Iterator[socket.socket]:
    """Yield each connection until the event is set."""
    listener.settimeout(0.1)
    while not one.is_set():
        with contextlib.suppress(TimeoutError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                yield connection


@contextlib.contextmanager
def nix_of_the_host() -> Iterator[Outside]:
    """A server with a secret on the host's loopback, and a daemon of nix that fetches from it for every client."""
    DAEMON.parent.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as daemon,
    ):
        seen = Outside(server.getsockname()[1])
        daemon.bind(str(DAEMON))
        DAEMON.chmod(0o666)
        daemon.listen()

        def answer() -> None:
            for peer in serve(server, ended):
                seen.peers.append(str(peer.getpeername()))
                peer.sendall(SECRET.encode())

        def fetch() -> None:
            for client in serve(daemon, ended):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(client.recv(16)))) as to:
                    client.sendall(to.recv(100))

        threads = [threading.Thread(target=work) for work in (answer, fetch)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            DAEMON.unlink()


FIND = """
import stat
for top, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(top, name) not in ("/proc", "/sys", "/usr")]
    paths = (os.path.join(top, name) for name in files)
    words += [path for path in paths if stat.S_ISSOCK(os.lstat(path).st_mode)]
for line in open("/proc/net/unix"):
    words += [word for word in line.split()[7:] if word.startswith("@")]
"""
ASK = """
def ask(path, kind):
    with socket.socket(socket.AF_UNIX, kind) as peer:
        peer.settimeout(0.1)
        peer.connect(path.replace("@", chr(0)))
        peer.sendall(words[0].encode())
        try:
            said[f"{path} answers"] = peer.recv(100).decode(errors="replace")
        except TimeoutError:
            pass
for path in sorted(set(words[1:])):
    attempt(path, ask, path, socket.SOCK_STREAM)
    if said[path] == "EPROTOTYPE":
        attempt(path, ask, path, socket.SOCK_DGRAM)
"""


@pytest.mark.parametrize("agent", [ALICE, MANAGER])
async def test_no_socket_that_is_found_inside_opens_a_connection_outside(
    nixos_host: NixosHost, agent: AgentName
) -> None:
    container, ways = await enter(nixos_host, agent), [str(DAEMON), f"/proc/1/root{DAEMON}"]
    with nix_of_the_host() as seen:
        assert outside(ASK, str(seen.port), str(DAEMON))[f"{DAEMON} answers"] == SECRET
        assert len(seen.peers) == 1
        for user in USERS:
            said = inside(container, user, FIND + ASK, str(seen.port), *ways)
            assert SECRET not in said.values()
            assert [said[way] for way in ways] == ["EACCES", "EACCES"]
            assert "/run/dbus/system_bus_socket" in said, "those of its own are found"
        assert len(seen.peers) == 1


UNCOVER = """
MOVE, BIND, DETACH = 8192, 4096, 2
os.makedirs("/tmp/seen", exist_ok=True)
for path in words:
    name = path.encode()
    attempt(f"{path}: list", os.listdir, path)
    attempt(f"{path}: mode", os.chmod, path, 0o755)
    attempt(f"{path}: unmount", c, "umount2", name, DETACH)
    attempt(f"{path}: move", c, "mount", name, b"/tmp/seen", None, MOVE, None)
    attempt(f"{path}: bind what is around it", c, "mount", os.path.dirname(name), b"/tmp/seen", None, BIND, None)
    attempt(f"{path}: list after that", os.listdir, path)
    attempt(f"{path}: list there", os.listdir, f"/tmp/seen/{os.path.basename(path)}")
"""
OWN = """
os.makedirs("/tmp/own/a", exist_ok=True)
attempt("mount", c, "mount", b"none", b"/tmp/own/a", b"tmpfs", 0, None)
attempt("bind", c, "mount", b"/tmp/own/a", b"/mnt", None, 4096, None)
attempt("unmount", c, "umount2", b"/mnt", 2)
"""


async def test_root_of_a_container_does_not_uncover_what_is_hidden(nixos_host: NixosHost) -> None:
    alice, hidden = await enter(nixos_host, ALICE), [str(DAEMON.parent), str(DATABASE.parent)]
    with nix_of_the_host():
        for user in USERS:
            assert succeeded(inside(alice, user, UNCOVER, *hidden)) == []
    assert succeeded(inside(alice, "root", "os.makedirs('/mnt', exist_ok=True)" + OWN)) == ["mount", "bind", "unmount"]


LOCK = """
import fcntl
def lock(path):
    file = os.open(path, os.O_RDONLY)
    fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    held.append(file)
held = []
for path in words:
    attempt(path, lock, path)
"""


async def test_nothing_inside_can_lock_the_database_of_nix_and_make_the_host_wait(nixos_host: NixosHost) -> None:
    """A shared lock needs no more than the right to read, and holds up everybody who writes."""
    alice = await enter(nixos_host, ALICE)
    DATABASE.write_text("")
    DATABASE.chmod(0o644)
    try:
        assert outside(LOCK, str(DATABASE), uid=nixos_host.settings(ALICE).uid_base) == {str(DATABASE): DONE}
        for user in USERS:
            said = inside(alice, user, LOCK, str(DATABASE), f"/proc/1/root{DATABASE}")
            assert set(said.values()) == {"EACCES"}
        with DATABASE.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        DATABASE.unlink()


CHANGE = """
DETACH = 2
for top in words:
    attempt(f"{top}: list", os.listdir, top)
    said[f"{top} has"] = " ".join(os.listdir(top))
    attempt(f"{top}: unmount", c, "umount2", top.encode(), DETACH)
    attempt(f"{top}: link", os.symlink, "/etc", f"{top}/system")
    attempt(f"{top}: replace", os.rename, f"{top}/system", f"{top}/system-9-link")
"""


async def test_the_links_by_which_root_switches_systems_are_not_changed_from_inside(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    profile, roots = WHERE.profiles / ALICE, STATE / "gcroots/per-container" / ALICE
    tops = (f"{STATE}/profiles", f"{STATE}/gcroots")
    before = snapshot(profile), snapshot(roots)
    assert (profile / "system").is_symlink(), "there is something to change"
    mounts = [line.split()[4] for line in Path(f"/proc/{nixos_host.leader(ALICE)}/mountinfo").read_text().splitlines()]
    assert [mounts.count(top) for top in tops] == [2, 2], "the host's are bound, and covered"
    for user in USERS:
        said = inside(alice, user, CHANGE, *tops)
        assert [said[f"{top} has"] for top in tops] == ["", ""], "what is there is the container's own"
        ways = ("list", "link", "replace") if user == "root" else ("list",)
        assert succeeded(said) == [f"{top}: {way}" for top in tops for way in ways]
    assert (snapshot(profile), snapshot(roots)) == before
