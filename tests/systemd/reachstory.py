"""The way out of a container on a real systemd, with hive, its helper and hive-egress as units. Run inside of the host.

The CLI is a program that speaks no protocol: it tries what it can reach, keeps a tunnel open while the daemon restarts,
and loses it when hive-egress does.
"""

from __future__ import annotations

import json
import socketserver
import sys
import tempfile
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override

from tests.e2e import story as e2e
from tests.e2e.story import check
from tests.support.systemd import nixhost
from tests.systemd.nixstory import ETC, RUNTIME, NixStory, perform, run
from tests.systemd.waystory import BASE, HOST, PORT, UNIT, Upstream

ECHO = 8082
NETWORK = {"private": [f"{HOST}:{PORT}", f"{HOST}:{ECHO}"], "hosts": {HOST: "127.0.0.1"}}
"""services.hive.network of the host."""
PROGRAM = nixhost.PYTHON / "reach.py"
"""A path in the host and its containers, which have its /usr."""
TOML = f"""runtime = "acp"
command = ["/usr/bin/python3", "-I", "-S", "{PROGRAM}"]
network = {{ allow = ["{HOST}:{PORT}", "{HOST}:{ECHO}"] }}
"""
PROBE = f"""
import errno, json, os, socket, time, urllib.error, urllib.request

def get(url):
    try:
        return urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as error:
        return f"{{error.code}} {{error.reason}}"
    except OSError as error:
        return str(error)

def direct(*address):
    with socket.socket() as one:
        return errno.errorcode.get(one.connect_ex(address), "?")

def echo(text):
    try:
        tunnel.sendall(text)
        return tunnel.recv(100).decode()
    except OSError as error:
        return errno.errorcode.get(error.errno, "?")

def stage(name, **said):
    with open(f"/state/work/{{name}}.new", "w") as file:
        json.dump(said, file)
    os.rename(f"/state/work/{{name}}.new", f"/state/work/{{name}}.json")

def wait(name):
    while not os.path.exists(f"/state/work/{{name}}"):
        time.sleep(0.02)

proxy = os.environ["http_proxy"].removeprefix("http://").rstrip("/")
host, port = proxy.split(":")
tunnel = socket.create_connection((host, int(port)), 20)
tunnel.sendall(b"CONNECT {HOST}:{ECHO} HTTP/1.1\\r\\nHost: {HOST}:{ECHO}\\r\\n\\r\\n")
head = b""
while b"\\r\\n\\r\\n" not in head:
    head += tunnel.recv(1)
stage(
    "first",
    proxy=proxy,
    links=sorted(os.listdir("/sys/class/net")),
    allowed=get("http://{HOST}:{PORT}/"),
    refused=get("http://other.example:{PORT}/"),
    loopback=direct("127.0.0.1", {PORT}),
    outside=direct("10.0.0.1", 80),
    tunnel=echo(b"one"),
)
wait("daemon-restarted")
stage("second", tunnel=echo(b"two"))
wait("egress-restarted")
ended = echo(b"three")
while (answer := get("http://{HOST}:{PORT}/")) != "no key":
    time.sleep(0.05)
stage("third", tunnel=ended, allowed=answer)
time.sleep(60)
"""


class Echo(socketserver.BaseRequestHandler):
    """Says what it hears."""

    @override
    def handle(self) -> None:
        while data := self.request.recv(100):
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    """One thread for each connection; none of them outlives the story."""

    daemon_threads = True


def main() -> int:
    """Play it; print what went wrong."""
    with (
        tempfile.TemporaryDirectory() as name,
        ThreadingHTTPServer(("127.0.0.1", PORT), Upstream) as upstream,
        EchoServer(("127.0.0.1", ECHO), Echo) as echo,
    ):
        for server in (upstream, echo):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        story = NixStory(Path(name), out=print)
        code = perform(story, partial(e2e.first_chapter, story), partial(play, story))
        for server in (upstream, echo):
            server.shutdown()
        return code


def play(story: NixStory) -> None:
    """One agent that may reach two ports of one host, and either unit restarted alone."""
    PROGRAM.write_text(PROBE, encoding="utf-8")
    story.propose(1, TOML)
    check(HOST in story.hive("diff", "1"), "the card does not say what she may reach")
    story.hive("approve", "1")
    check(story.ended(1)["state"] == "deployed", f"1 ended {story.ended(1)}")
    check("PRIVATE_NETWORK=1\n" in (ETC / "alice.conf").read_text(), "the container has a network")
    folder, daemon, egress = RUNTIME / "egress/alice", story.main_pid, main_pid()
    before, alice = folder.stat(), story.healthy("alice")["pid"]
    check((before.st_uid, before.st_gid >= BASE) == (nixhost.EGRESS, True), f"the directory is {before}")

    story.hive("send", "alice", "go")
    judge(stage(story, "first"))
    story.say("alice reaches her host through the harness's relay", "another is refused, and there is no other way")

    run("systemctl", "restart", "hive.service")
    story.until("the daemon is back", lambda: True if story.answers() and story.main_pid != daemon else None)
    check(main_pid() == egress, "hive-egress was restarted with the daemon")
    go(story, "daemon-restarted")
    check(stage(story, "second") == {"tunnel": "two"}, "the tunnel ended with the daemon")
    story.say("the daemon's restart", "her tunnel stays open")

    daemon = story.main_pid
    run("systemctl", "restart", UNIT)
    check(main_pid() != egress and story.main_pid == daemon, "the daemon was restarted with hive-egress")
    go(story, "egress-restarted")
    third = stage(story, "third")
    check(third["tunnel"] in ("", "EPIPE", "ECONNRESET") and third["allowed"] == "no key", f"she says {third}")
    check(folder.stat().st_ino == before.st_ino, "the directory is another one")
    check(story.healthy("alice")["pid"] == alice, "alice was restarted")
    story.say("the restart of hive-egress", "the tunnel ended, and the next request goes through the same directory")
    report = story.hive("network", "alice")
    check("other.example" in report, f"hive network does not show the refusal: {report}")
    story.say("`hive network alice`", "shows what was refused")


def judge(said: dict[str, Any]) -> None:
    """Compare what the CLI reached with what it may."""
    refused = said.pop("refused")
    check(refused.startswith("403 ") and "other.example" in refused, f"another host: {refused}")
    check("host0" not in said["links"], f"the container has an interface: {said}")
    del said["links"]
    right = {"proxy": "127.0.0.1:3128", "allowed": "no key", "tunnel": "one"}
    check(said == {**right, "loopback": "ECONNREFUSED", "outside": "ENETUNREACH"}, f"the CLI says {said}")


def stage(story: NixStory, name: str) -> dict[str, Any]:
    """What the CLI wrote, once it did."""
    path = story.state / f"agents/alice/state/work/{name}.json"
    return story.until(f"the CLI's {name}", lambda: dict(json.loads(path.read_bytes())) if path.exists() else None)


def go(story: NixStory, name: str) -> None:
    """Let the CLI go on."""
    (story.state / "agents/alice/state/work" / name).touch()


def main_pid() -> int:
    return int(run("systemctl", "show", "-P", "MainPID", UNIT))


if __name__ == "__main__":
    sys.exit(main())
