"""`hive install-service` on a real systemd host: the daemon comes up hardened, comes back, and its agents go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.systemd.host import SystemdHost

pytestmark = [pytest.mark.systemd, pytest.mark.bwrap, pytest.mark.full, pytest.mark.timeout(120)]

HIVE = str(Path(sys.prefix) / "bin/hive")


def hive(host: SystemdHost, *words: str, code: int = 0) -> str:
    done = host.run([HIVE, *words])
    assert done.returncode == code, done.stdout
    return done.stdout


def systemctl(host: SystemdHost, *words: str) -> str:
    done: subprocess.CompletedProcess[str] = host.run(["systemctl", *words])
    return done.stdout.strip()


def pids(host: SystemdHost) -> dict[str, int]:
    rows = json.loads(hive(host, "status", "--json"))["agents"]
    return {row["agent"]: row["pid"] for row in rows}


def way_out(host: SystemdHost) -> str:
    """The process of hive-egress, which the daemon started; "" for none."""
    return host.run(["pgrep", "-f", "[-]m reconciler.egress --state"]).stdout.strip()


AGAIN = 'until [ "$(systemctl show -P NRestarts hive)" = 1 ]; do :; done; systemctl start hive'
"""A shell's wait until systemd starts the daemon again by itself, and then until the daemon is ready."""
SOONER = 'd=/etc/systemd/system/hive.service.d; mkdir $d && printf "[Service]\\nRestartSec=0\\n" >$d/sooner.conf'


def test_a_daemon_that_is_killed_comes_back_and_its_agents_never_end(systemd_host: SystemdHost) -> None:
    assert systemd_host.run(["sh", "-c", SOONER]).returncode == 0
    assert "the daemon is up" in hive(systemd_host, "install-service", "--now")
    assert "is as it should be" in hive(systemd_host, "install-service")
    hive(systemd_host, "spawn", "alice", "--wait")
    before, daemon = pids(systemd_host), systemctl(systemd_host, "show", "-P", "MainPID", "hive")
    egress = way_out(systemd_host)
    assert egress.isdigit(), "hive-egress runs beside the daemon"
    rights = systemd_host.run(["grep", "CapEff", f"/proc/{egress}/status"]).stdout.split()
    assert rights[1] == "0" * 16, "the daemon is root, and hive-egress has none of its capabilities"
    owner = systemd_host.run(["stat", "-c", "%u", "/var/lib/hyperhive/agents/alice/state"]).stdout
    assert int(owner) > 60_000, "the agent has a uid of its own"

    assert systemd_host.run(["kill", "-9", daemon]).returncode == 0
    assert systemd_host.run(["timeout", "30", "sh", "-c", AGAIN]).returncode == 0
    assert systemctl(systemd_host, "show", "-P", "MainPID", "hive") not in (daemon, "0")
    assert pids(systemd_host) == before
    assert way_out(systemd_host) == egress
    assert systemctl(systemd_host, "restart", "hive") == ""
    assert way_out(systemd_host) == egress, "KillMode=process leaves it alone, and the next daemon adopts it"

    said = hive(systemd_host, "down", "--yes", code=4)
    assert "hive.service, which systemd would start again" in said
    assert "systemctl stop hive.service" in said
    assert set(pids(systemd_host).values()) == {None}
    assert way_out(systemd_host) == egress, "a daemon that goes on needs it"
    said = hive(systemd_host, "install-service", "--remove", "--yes")
    assert "removed /etc/systemd/system/hive.service" in said
    assert systemctl(systemd_host, "is-active", "hive") == "inactive"
    assert f"hive-egress, pid {egress}" in hive(systemd_host, "down", "--yes", "--state", "/var/lib/hyperhive")
    assert way_out(systemd_host) == ""
