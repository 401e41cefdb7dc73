"""Backend `nixos` on a host with systemd 257: an agent starts there, and the walls hold."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.systemd.host import SystemdHost
from tests.systemd.test_host import PYTEST, look_after_restart

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

SHORT = ("test_start", "test_owners")
REST = (
    ("test_contract",),
    ("test_accidents",),
    ("test_manager_view", "test_escape"),
    ("test_escape_root", "test_escape_calls", "test_escape_nix"),
    ("test_credentials",),
)
"""Each line has a host of its own. test_own_nix needs a nix, which the host has not."""


LONG = (pytest.param(names, marks=pytest.mark.full) for names in REST)


@pytest.mark.parametrize("names", [SHORT, *LONG], ids=" ".join)
def test_every_test_inside_passes_with_systemd_257(newer_host: SystemdHost, names: tuple[str, ...]) -> None:
    assert newer_host.run(["systemctl", "--version"]).stdout.startswith("systemd 257 ")
    paths = [f"tests/systemd/inside/{name}.py" for name in names]
    kept = {name: os.environ[name] for name in ("HIVE_FULL",) if name in os.environ}
    done = newer_host.run([sys.executable, "-m", "pytest", *PYTEST, *paths], seconds=280, env=kept)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.full
def test_a_restarted_host_with_systemd_257_runs_nothing_until_hive_starts_it(newer_host: SystemdHost) -> None:
    look_after_restart(newer_host, kill=False)
