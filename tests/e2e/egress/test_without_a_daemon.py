"""A real hive-egress by itself: what it does while no daemon runs, after its own death, and when its policy changes."""

from __future__ import annotations

import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.egress import Egress, connect, policy
from tests.support.upstream import Upstream

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class Place:
    """hive-egress, and an echo on loopback that two names lead to."""

    egress: Egress
    port: int

    def rule(self, name: str) -> str:
        """Return the rule for a name."""
        return f"{name}.example:{self.port}"

    def tunnel(self, name: str) -> socket.socket:
        """Open a tunnel of alice's, and check that it carries."""
        status, tunnel = connect(self.egress.socket("alice"), self.rule(name))
        assert status.startswith("200 "), status
        assert echoes(tunnel)
        return tunnel

    def status(self, name: str) -> str:
        """Return the answer to a request for a tunnel."""
        status, tunnel = connect(self.egress.socket("alice"), self.rule(name))
        tunnel.close()
        return status


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="hive-r-", dir="/tmp") as folder, Upstream() as upstream:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        upstream.echo(listener)
        names = [f"{name}.example" for name in ("one", "other")]
        network = [f"private = {[f'{name}:{port}' for name in names]}", "[hosts]"]
        network += [f'"{name}" = "127.0.0.1"' for name in names]
        with Egress(Path(folder), "\n".join(network)) as egress:
            yield Place(egress, port)


def echoes(tunnel: socket.socket) -> bool:
    """Return True if what is sent comes back, False if the tunnel has ended."""
    try:
        tunnel.sendall(b"x")
        return tunnel.recv(1) == b"x"
    except OSError:
        return False


def test_a_change_of_the_policy_ends_the_tunnel_that_it_forbids_and_no_other(place: Place) -> None:
    place.egress.push(alice=policy(place.rule("one"), place.rule("other")))
    one, other = place.tunnel("one"), place.tunnel("other")
    with one, other:
        place.egress.push(alice=policy(place.rule("other")))
        assert one.recv(1) == b""
        assert echoes(other)
    ends = {row["host"]: row["end"] for row in place.egress.connections() if row["end"]}
    assert ends["one.example"] == "policy"


def test_a_grant_ends_by_itself_and_its_tunnels_with_it(place: Place) -> None:
    end = time.time() + 1.0
    place.egress.push(alice=policy(place.rule("other"), grants={place.rule("one"): end}))
    one, other = place.tunnel("one"), place.tunnel("other")
    with one, other:
        assert one.recv(1) == b""  # waits for the end
        assert time.time() >= end
        assert echoes(other)
        assert place.status("one").startswith("403 ")


def test_killed_it_obeys_the_same_policy_again_before_any_daemon_speaks(place: Place) -> None:
    past = {place.rule("other"): time.time() - 1}
    place.egress.push(alice=policy(place.rule("one"), grants=past))
    with place.tunnel("one"):
        place.egress.end(signal.SIGKILL)
        place.egress.start()
        with place.tunnel("one"):
            assert place.status("other").startswith("403 ")


def test_an_agent_that_is_no_longer_in_the_policy_loses_its_socket(place: Place) -> None:
    place.egress.push(alice=policy(place.rule("one")), bob=policy(place.rule("one")))
    with place.tunnel("one") as tunnel:
        place.egress.push(bob=policy(place.rule("one")))
        assert tunnel.recv(1) == b""
        assert not place.egress.socket("alice").exists()
        assert place.egress.socket("bob").exists()
