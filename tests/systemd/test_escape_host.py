"""What the manager sees and what nobody gets out of: both are tried in containers of a booted host."""

from __future__ import annotations

import sys

import pytest

from tests.support.systemd.host import SystemdHost
from tests.systemd.test_host import PYTEST

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", ["test_manager_view", "test_escape", "test_escape_root"])
def test_every_test_inside_passes(systemd_host: SystemdHost, name: str) -> None:
    path = f"tests/systemd/inside/{name}.py"
    done = systemd_host.run([sys.executable, "-m", "pytest", *PYTEST, path], seconds=90)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
