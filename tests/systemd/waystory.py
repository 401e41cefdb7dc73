"""hive-egress as the unit of its module, on a real systemd. Run inside of the host: `python -m tests.systemd.waystory`.

Without a daemon and without containers: root plays the agents' users, and the user hive plays the daemon.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override

from meta.errors import HiveError
from meta.names import AgentName
from meta.network.policy import AgentPolicy, Policy
from meta.network.rule import parse_rule
from reconciler.network.client import EgressClient
from reconciler.privileged.client import Client
from tests.e2e.story import Unexpected, check
from tests.support.systemd import nixhost
from tests.systemd.nixstory import RUNTIME, run

UNIT = "hive-egress.service"
CONTROL = Path("/run/hive-egress/control.sock")
HELPER = Path("/run/hive-privileged/socket")
ALICE = AgentName("alice")
BASE = 1_879_048_192
DIRECTORY = RUNTIME / "egress" / ALICE
KEY, KEY_FILE = "the-key-of-corp", Path("/etc/key-of-corp")
HOST, PORT, OTHER = "api.example", 8080, 8081
NETWORK = {
    "private": [f"{HOST}:{PORT}"],
    "hosts": {HOST: "127.0.0.1"},
    "credentials": {
        "corp": {"kind": "http", "upstream": f"http://{HOST}:{PORT}", "file": str(KEY_FILE)},
        "gone": {"kind": "http", "upstream": f"http://{HOST}:{PORT}", "file": "/etc/no-such-key"},
    },
}
"""services.hive.network of the host."""
SECONDS = 20.0


class Upstream(BaseHTTPRequestHandler):
    """Answers with the authorization that it got."""

    def do_GET(self) -> None:
        """Answer."""
        body = (self.headers.get("authorization") or "no key").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Write no line."""


def main() -> int:
    """Play it."""
    KEY_FILE.write_text(f"{KEY}\n")
    KEY_FILE.chmod(0o600)
    with ThreadingHTTPServer(("127.0.0.1", PORT), Upstream) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        run("systemctl", "start", UNIT, "hive-privileged.socket")
        until("the control socket", CONTROL.exists)
        confined()
        as_hive(push)
        reaches()
        restarts()
        as_hive(remove)
        check(not DIRECTORY.exists(), "the directory stays without its container")
        upstream.shutdown()
    say("hive-egress is as its module says")
    return 0


# what the daemon does
async def push() -> None:
    """Have root make the agent's directory, and push a policy."""
    await Client(HELPER).own_directory(ALICE, "egress", BASE)
    policy = AgentPolicy(rules=(parse_rule(f"{HOST}:{PORT}"),), routes=frozenset({"corp", "gone"}))
    await EgressClient(CONTROL).set_policy(Policy({ALICE: policy}))


async def remove() -> None:
    """Take the agent from the policy, and have root destroy what is left of its container."""
    await EgressClient(CONTROL).set_policy(Policy({}))
    await Client(HELPER).destroy(ALICE)


def as_hive(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do it as the user hive, with its groups."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.initgroups("hive", nixhost.USER)
            os.setgid(nixhost.USER)
            os.setuid(nixhost.USER)
            asyncio.run(work())
            code = 0
        except (HiveError, OSError) as error:
            say(f"{work.__name__}: {error}")
        finally:
            os._exit(code)
    check(os.waitpid(child, 0)[1] == 0, f"{work.__name__} failed")


# what is seen
def confined() -> None:
    """Its own user, none of hive's directories, and nobody but the daemon at its control socket."""
    pid = main_pid()
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in status if line.startswith(("Uid:", "Gid:", "CapBnd:"))}
    check(found == {"Uid": str(nixhost.EGRESS), "Gid": str(nixhost.EGRESS), "CapBnd": "0" * 16}, f"it runs as {found}")
    (RUNTIME / "host.sock").touch()
    view = Path(f"/proc/{pid}/root")
    check([path.name for path in (view / RUNTIME.relative_to("/")).iterdir()] == ["egress"], "it sees other sockets")
    check(not list((view / "srv/hive-host/state").iterdir()), "it sees the state directory")
    for uid, groups in ((nixhost.MEMBER, f"{nixhost.USER}"), (nixhost.STRANGER, f"{nixhost.STRANGER}")):
        try:
            run(*user(uid, groups), "test", "-S", str(CONTROL))
        except Unexpected:
            continue
        raise Unexpected(f"uid {uid} reaches the control socket")
    say("hive-egress has its own user, sees nothing of hive, and only the daemon reaches its control socket")


def reaches() -> None:
    """What the agent may and may not, through its socket."""
    status = DIRECTORY.stat()
    owners = (status.st_uid, status.st_gid, status.st_mode & 0o7777)
    check(owners == (nixhost.EGRESS, BASE, 0o750), f"the directory is {owners}")
    until("the agent's socket", (DIRECTORY / "egress.sock").exists)
    for what, request, answer in (
        ("an allowed host", f"GET http://{HOST}:{PORT}/ HTTP/1.1\r\nHost: {HOST}:{PORT}", b" 200 "),
        ("a tunnel", f"CONNECT {HOST}:{PORT} HTTP/1.1\r\nHost: {HOST}:{PORT}", b" 200 "),
        ("another port", f"CONNECT {HOST}:{OTHER} HTTP/1.1\r\nHost: {HOST}:{OTHER}", b" 403 "),
        ("an address of the host", f"CONNECT 127.0.0.1:{PORT} HTTP/1.1\r\nHost: x", b" 403 "),
        ("the route of a key", "GET /corp/x HTTP/1.1\r\nHost: hive\r\nAuthorization: mine", KEY.encode()),
        ("a route without its key", "GET /gone/x HTTP/1.1\r\nHost: hive", b"hive doctor"),
    ):
        text = ask(request)
        check(answer in text, f"{what}: {text!r}")
    check(KEY.encode() not in ask("GET /gone/x HTTP/1.1\r\nHost: hive"), "a key came back")
    try:
        run(*user(nixhost.MEMBER, str(nixhost.USER)), "test", "-S", str(DIRECTORY / "egress.sock"))
    except Unexpected:
        say("the agent's group alone reaches its socket; key, refusal and limits are as they should be")
        return
    raise Unexpected("an operator reaches the agent's socket")


def restarts() -> None:
    """It is killed, comes back in the same directory, and obeys its policy with no daemon."""
    inode, pid = DIRECTORY.stat().st_ino, main_pid()
    os.kill(pid, signal.SIGKILL)
    until("systemd starts it again", lambda: main_pid() not in (0, pid))
    until("it answers", lambda: b" 200 " in ask(f"GET http://{HOST}:{PORT}/ HTTP/1.1\r\nHost: {HOST}:{PORT}"))
    check(DIRECTORY.stat().st_ino == inode, "the directory is another one")
    say("killed, it comes back with its policy, and the directory that a container has bound is the same")


def ask(request: str) -> bytes:
    """Ask as the agent's harness, whose container is in its own group only; b"" if nothing answers."""
    child = f"""
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout({SECONDS}); s.connect({str(DIRECTORY / "egress.sock")!r})
s.sendall(sys.argv[1].encode() + b"\\r\\nConnection: close\\r\\n\\r\\n")
data = b""
while chunk := s.recv(65536):
    data += chunk
    if data.startswith(b"HTTP/1.1 200") and sys.argv[1].startswith("CONNECT"):
        break
sys.stdout.write(data.decode())
"""
    try:
        return run(*user(BASE + 60_600, str(BASE)), "/usr/bin/python3", "-I", "-S", "-c", child, request).encode()
    except Unexpected:
        return b""


def user(uid: int, group: str) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={uid}", f"--regid={group}", "--clear-groups")


def main_pid() -> int:
    return int(run("systemctl", "show", "-P", "MainPID", UNIT))


def until(what: str, happens: Callable[[], object]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + SECONDS
    while not happens():
        check(time.monotonic() < deadline, f"{what}: not within {SECONDS:g} s\n{journal()}")
        time.sleep(0.02)  # no event of ours; bounded by the deadline


def journal() -> str:
    return run("journalctl", "--no-pager", "--lines=30", "--output=cat", f"--unit={UNIT}", "--unit=hive-privileged")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unexpected, HiveError, OSError) as error:
        say(f"FAILED {error}\n{journal()}")
        sys.exit(1)
