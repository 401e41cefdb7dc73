"""The few things without which no agent runs, for every systemd that hive is tested on."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.systemd.inside.attempts import DONE, inside, outside
from tests.systemd.inside.conftest import NixosHost, systemctl
from tests.systemd.inside.entered import USERS, enter
from tests.systemd.inside.surroundings import ALICE

NETWORK = """
said["interfaces"] = " ".join(sorted(name for _, name in socket.if_nameindex()))
with socket.socket() as one:
    one.settimeout(2)
    attempt("host", one.connect, ("127.0.0.1", int(words[0])))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    attempt("away", one.connect, ("192.0.2.1", 53))
"""
TUN = 'attempt("tun", open, "/dev/net/tun", "r+b", 0)'


async def test_an_agent_starts_has_no_network_stops_and_starts_again(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    policy = ("DevicePolicy=closed", "DeviceAllow=/dev/net/tun rwm", "Delegate=yes", "Slice=machine.slice")
    limits = (f"MemoryMax={512 * 2**20}", "MemorySwapMax=0", "TasksMax=64", "Restart=no")
    keys = ",".join(line.partition("=")[0] for line in policy + limits)
    shown = systemctl("show", "container@alice.service", f"--property={keys}").splitlines()
    assert set(policy + limits) <= set(shown), shown
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for user in USERS:
            assert inside(alice, user, NETWORK, str(port)) == {
                "interfaces": "lo",
                "host": "ECONNREFUSED",
                "away": "ENETUNREACH",
            }
        assert outside(NETWORK, str(port))["host"] == DONE
    first = nixos_host.main_pid(ALICE)
    await nixos_host.backend.stop(ALICE, 10)
    assert not Path(f"/proc/{first}").exists()
    await nixos_host.backend.start(ALICE, nixos_host.launch(nixos_host.generation(ALICE)))
    await nixos_host.until_up(ALICE)
    assert nixos_host.main_pid(ALICE) != first


async def test_the_node_of_tun_that_nspawn_makes_leads_nowhere(nixos_host: NixosHost) -> None:
    alice = await enter(nixos_host, ALICE)
    assert Path("/dev/net/tun").exists(), "the host has none, so nothing is tried"
    assert inside(alice, "root", TUN) == {"tun": DONE}
    alice.text("ip", "tuntap", "add", "dev", "own0", "mode", "tun", user="root")
    assert "own0" not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    for user in USERS:
        assert inside(alice, user, NETWORK, "1")["away"] == "ENETUNREACH"
