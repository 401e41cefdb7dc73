"""What the manager sees and what nobody gets out of: both are tried in containers of a booted host."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.systemd import nixhost
from tests.support.systemd.host import SystemdHost
from tests.systemd.test_host import PYTEST

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(240)]


TESTS = (
    ("test_manager_view",),
    ("test_escape",),
    ("test_escape_root", "test_escape_calls", "test_escape_uids"),
    ("test_credentials",),
    ("test_escape_nix", *(() if nixhost.missing() else ("test_own_nix",))),
)
"""Each line has a host of its own."""


@pytest.mark.parametrize("names", TESTS, ids=" ".join)
def test_every_test_inside_passes(systemd_host: SystemdHost, names: tuple[str, ...]) -> None:
    paths = [f"tests/systemd/inside/{name}.py" for name in names]
    kept = {name: os.environ[name] for name in ("HIVE_FULL",) if name in os.environ}
    done = systemd_host.run([sys.executable, "-m", "pytest", *PYTEST, *paths], seconds=200, env=kept)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
