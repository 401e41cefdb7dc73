"""How exposed hive's units are, by systemd's own measure, and when the daemon has a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.test_host_module import section

MOST = {"hive.service": 2.5, "hive-privileged.service": 2.0}
"""Less is better; a unit without any restriction has 9.6. systemd 252 says 2.2 and 1.6; a newer one weighs more."""


@pytest.fixture(scope="module")
def units(nix: Evaluator) -> Any:
    """The units of each configuration."""
    found = nix.json(HERE / "host.nix", hyperhive=f"path:{ROOT}")["evaluated"]
    return {name: view["units"] for name, view in found.items()}


def exposure(unit: Path) -> float:
    """Return what `systemd-analyze security` says of a unit file."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    return float(level[1])


@pytest.mark.parametrize("name", MOST)
def test_a_unit_is_exposed_no_more_than_the_page_says(units: Any, tmp_path: Path, name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    text = re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", units["plain"][name])
    (tmp_path / name).write_text(text, encoding="utf-8")
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    assert exposure(bare) > 9
    assert exposure(tmp_path / name) <= MOST[name]


@pytest.mark.parametrize("name", ["plain", "moved", "configured"])
def test_a_daemon_that_connects_to_nothing_has_no_network(units: Any, name: str) -> None:
    service = section(units[name]["hive.service"], "Service")
    assert (service["PrivateNetwork"], service["IPAddressDeny"]) == (["true"], ["any"])
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK"]


@pytest.mark.parametrize("name", ["notifying", "fetching", "tracing", "local"])
def test_a_daemon_that_notifies_fetches_traces_or_runs_agents_itself_has_the_hosts(units: Any, name: str) -> None:
    service = section(units[name]["hive.service"], "Service")
    assert "PrivateNetwork" not in service
    assert "IPAddressDeny" not in service
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK AF_INET AF_INET6"]


def test_the_page_has_the_bounds_of_this_test() -> None:
    page = (ROOT / "docs/explanation/isolation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.-]+\.service)` \| [\d.]+ \| [\d.]+ \| ([\d.]+) \|", page, re.MULTILINE))
    assert rows == {name: str(most) for name, most in MOST.items()}
