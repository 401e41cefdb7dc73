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
from tests.support.systemd import newer

MOST = {"hive.service": 2.5, "hive-egress.service": 2.0, "hive-privileged.service": 2.0}
"""Less is better; a unit without any restriction has more than 9. systemd 252 and 257 both say 2.2 and 1.6."""


@pytest.fixture(scope="module")
def units(nix: Evaluator) -> Any:
    """The units of each configuration."""
    found = nix.json(HERE / "host.nix", hyperhive=f"path:{ROOT}")["evaluated"]
    return {name: view["units"] for name, view in found.items()}


def missing(release: int) -> str | None:
    """Return why no `systemd-analyze` of that release can be asked, or None. 252 stands for this machine's own."""
    if release == 252:
        return None if shutil.which("systemd-analyze") else "systemd-analyze is not installed (apt-get install systemd)"
    return newer.missing() or (None if shutil.which("bwrap") else "bubblewrap is not installed")


def exposure(unit: Path, release: int) -> float:
    """Return what `systemd-analyze security` says of a unit file."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    if release != 252:
        seen = f"/tmp/{unit.name}"
        binds = ("--ro-bind", str(newer.ROOT), "/", "--tmpfs", "/run", "--tmpfs", "/tmp", "--ro-bind", str(unit), seen)
        argv = ["bwrap", *binds, "--proc", "/proc", "--dev", "/dev", *argv[:-1], seen]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    return float(level[1])


@pytest.mark.parametrize("release", [252, pytest.param(257, marks=pytest.mark.systemd)])
@pytest.mark.parametrize("name", MOST)
def test_a_unit_is_exposed_no_more_than_the_page_says(units: Any, tmp_path: Path, name: str, release: int) -> None:
    why = missing(release)
    if why is not None:
        pytest.skip(why)
    text = re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", units["plain"][name])
    (tmp_path / name).write_text(text, encoding="utf-8")
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    assert exposure(bare, release) > 9
    assert exposure(tmp_path / name, release) <= MOST[name]


def test_the_virtual_machine_asks_for_the_same_bound() -> None:
    script = (ROOT / "nix/tests/enable.nix").read_text(encoding="utf-8")
    (threshold,) = re.findall(r"security hive\.service --threshold=(\d+)", script)
    assert int(threshold) == 10 * MOST["hive.service"]


@pytest.mark.parametrize("name", ["plain", "moved", "configured"])
def test_a_daemon_that_connects_to_nothing_has_no_network(units: Any, name: str) -> None:
    service = section(units[name]["hive.service"], "Service")
    assert (service["PrivateNetwork"], service["IPAddressDeny"]) == (["true"], ["any"])
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK"]


@pytest.mark.parametrize("name", ["notifying", "fetching", "sharing", "tracing", "local"])
def test_a_daemon_that_notifies_fetches_traces_or_runs_agents_itself_has_the_hosts(units: Any, name: str) -> None:
    service = section(units[name]["hive.service"], "Service")
    assert "PrivateNetwork" not in service
    assert "IPAddressDeny" not in service
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK AF_INET AF_INET6"]


def test_the_page_has_the_bounds_of_this_test() -> None:
    page = (ROOT / "docs/explanation/isolation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.-]+\.service)` \| [\d.]+ \| [\d.]+ \| ([\d.]+) \|", page, re.MULTILINE))
    assert rows == {name: str(most) for name, most in MOST.items()}
