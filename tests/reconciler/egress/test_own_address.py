"""The host's own addresses, of which no agent may reach one. The tables are in a network namespace of their own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.egress import own_address

NETWORK = """
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 93.184.216.10/24 dev v0
ip addr add 93.184.216.11/24 dev v0
ip -6 addr add 2606:4700::10/64 dev v0 nodad
ip -6 addr add 2606:4700::11/64 dev v0 nodad
ip link set v0 up
ip link set v1 up
ip route add unreachable 1.1.1.0/24
exec "$@"
"""
ASK = """
import socket, sys
def refuse(self, address): raise PermissionError(1, "Operation not permitted")
class Unbound(socket.socket): bind = refuse
socket.socket = Unbound
from reconciler.egress.own_address import is_own
print(*(address for address in sys.argv[1:] if is_own(address, 22)))
"""
OWN = [
    "93.184.216.10",
    "93.184.216.11",
    "93.184.216.255",
    "::ffff:93.184.216.11",
    "2606:4700::10",
    "2606:4700::11",
    "127.8.9.10",
]
OTHERS = ["93.184.216.12", "::ffff:93.184.216.12", "2606:4700::12", "1.1.1.1", "8.8.8.8", "2001:4860::1"]


def _in_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    words = ["unshare", "-r", "-n", "sh", "-ec", NETWORK, "sh", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30, cwd=root)


@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="no unshare or no ip")
def test_every_address_of_an_interface_is_its_own_for_a_process_that_may_not_bind() -> None:
    if _in_namespace("true").returncode:
        pytest.skip("no network namespaces here")

    asked = _in_namespace(sys.executable, "-c", ASK, *OWN, *OTHERS)

    assert asked.stdout.split() == OWN, asked.stderr


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::ffff:127.0.0.1"])
def test_an_address_of_this_host_is_its_own(address: str) -> None:
    assert own_address.is_own(address, 443)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_elsewhere_is_not_its_own(address: str) -> None:
    assert not own_address.is_own(address, 443)


def test_a_host_that_does_not_answer_about_its_routes_is_asked_by_a_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without(socket.socket):
        def __init__(self, family: int, *rest: int) -> None:
            if family == socket.AF_NETLINK:
                raise PermissionError
            super().__init__(family, *rest)

    monkeypatch.setattr(socket, "socket", Without)
    monkeypatch.setattr(own_address, "_sends_to_itself", lambda address, port: False)

    assert own_address.is_own("127.0.0.1", 443)
    assert not own_address.is_own("192.0.2.1", 443)
