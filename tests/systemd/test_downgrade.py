"""An older daemon on the state of a newer hive, as a unit: refused once, never started again, agents go on."""

from __future__ import annotations

import sys

import pytest

from api.cli.client.exit_codes import Code
from tests.support.newer import SCHEMA
from tests.support.systemd.host import SystemdHost
from tests.systemd.test_service import SOONER, hive, pids, systemctl

pytestmark = [pytest.mark.full, pytest.mark.systemd, pytest.mark.bwrap, pytest.mark.timeout(120)]

NEWER = f"import sqlite3; sqlite3.connect('/var/lib/hyperhive/hive.db').execute('PRAGMA user_version = {SCHEMA}')"


def test_systemd_starts_no_daemon_again_that_found_the_state_of_a_newer_hive(systemd_host: SystemdHost) -> None:
    assert systemd_host.run(["sh", "-c", SOONER]).returncode == 0
    hive(systemd_host, "install-service", "--now")
    hive(systemd_host, "spawn", "alice", "--wait")
    agent = pids(systemd_host)["alice"]
    systemctl(systemd_host, "stop", "hive")
    assert systemd_host.run([sys.executable, "-c", NEWER]).returncode == 0

    assert systemd_host.run(["systemctl", "start", "hive"]).returncode != 0
    shown = systemctl(systemd_host, "show", "hive", "-p", "ActiveState,ExecMainStatus,NRestarts")
    assert set(shown.splitlines()) == {"ActiveState=failed", f"ExecMainStatus={Code.NEWER.value}", "NRestarts=0"}
    journal = systemd_host.run(["journalctl", "-u", "hive", "-o", "cat", "--no-pager"]).stdout
    assert journal.count("was written by a newer hive") == 1
    assert systemd_host.run(["kill", "-0", str(agent)]).returncode == 0
