"""Backend `nixos` on a real systemd host: what runs inside of it, and what happens when the host itself goes down."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.systemd import host, nixhost
from tests.support.systemd.host import REPO, USER, SystemdHost
from tests.systemd import nixstory

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(240)]
PYTEST = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--timeout=60", "--tb=short")


WITH_257 = (pytest.param(name, marks=pytest.mark.full) for name in ("test_start", "test_owners"))
"""Every run has them with a newer systemd (test_newer.py)."""


@pytest.mark.parametrize("name", ["test_contract", "test_accidents", *WITH_257])
def test_every_test_inside_passes(systemd_host: SystemdHost, name: str) -> None:
    path = f"tests/systemd/inside/{name}.py"
    done = systemd_host.run([sys.executable, "-m", "pytest", *PYTEST, path], seconds=200)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize(
    "kill", [pytest.param(False, marks=pytest.mark.full, id="in good order"), pytest.param(True, id="without power")]
)
def test_a_restarted_host_runs_nothing_until_hive_starts_it_and_has_its_old_journal(
    systemd_host: SystemdHost, kill: bool
) -> None:
    look_after_restart(systemd_host, kill=kill)


def look_after_restart(made: SystemdHost, *, kill: bool) -> None:
    nonces = part(made, "up")
    if kill:
        made.run(["journalctl", "--sync"])
    made.halt(kill=kill)
    made.boot()
    found = part(made, "look")
    seen = found["seen"]
    assert isinstance(seen, dict)
    for agent in ("alice", "bob"):
        container = seen[agent]
        assert container["pid"] is None
        assert container["launch"]["nonce"] == nonces[agent]
        assert (container["exit"]["nonce"], container["exit"]["lost"]) == (nonces[agent], True)
        assert container["system"] is not None
        assert container["fingerprint"] is not None
    assert found["runs"] is True
    assert str(nonces["alice"]) in str(found["log"]), "the journal of the last boot is there"


def part(made: SystemdHost, what: str) -> dict[str, object]:
    done = made.run([sys.executable, "-m", "tests.support.systemd.across", what])
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_the_whole_story_is_the_same_as_with_the_local_backend(systemd_host: SystemdHost) -> None:
    done = systemd_host.run([sys.executable, "-m", "tests.systemd.story", "--builder", "plain"], seconds=150)
    assert done.returncode == 0, done.stdout
    assert "hive plan is empty" in done.stdout


@pytest.mark.full  # a container restarts for each file
@pytest.mark.timeout(400)
def test_a_rebuild_alone_makes_each_deleted_file_again_and_an_older_container_is_taken_over(
    systemd_host: SystemdHost,
) -> None:
    done = systemd_host.run([sys.executable, "-m", "tests.systemd.restoring"], seconds=350)
    assert done.returncode == 0, done.stdout
    assert "every file came back" in done.stdout


@pytest.mark.full  # it takes twice as long; every run deploys what nix built, with hive as its unit, in test_matrix.py
@pytest.mark.nix
def test_the_whole_story_with_systems_that_nix_built_and_hive_as_the_unit_of_its_module() -> None:
    why = host.missing() or nixhost.missing()
    programs = nixhost.programs()
    if why is not None or programs is None:
        pytest.skip(why or "")
    with tempfile.TemporaryDirectory(prefix="hive-host-", dir="/var/tmp") as folder:
        made = SystemdHost(Path(folder), nixhost.Nix(programs, nixstory.SETTINGS))
        try:
            made.make()
            made.boot()
            done = made.run([sys.executable, "-m", "tests.systemd.story", "--builder", "nix"], seconds=150)
        finally:
            made.remove()
    assert done.returncode == 0, done.stdout
    assert "hive plan is empty" in done.stdout


MAKE = """
from pathlib import Path
from tests.contract.conftest import SCRIPT
from tests.support.systemd.stand_in import make_system
Path("/run/hive-user").mkdir(exist_ok=True)
__import__("os").chown("/run/hive-user", {user}, {user})
Path("/etc/nixos-containers/alice.conf").write_text("PRIVATE_NETWORK=1\\n")
print(make_system("carol", "/bin/sh @system@/script", {{"script": SCRIPT}}))
"""


def test_a_daemon_that_is_not_root_does_it_all_through_the_helper(systemd_host: SystemdHost) -> None:
    made = systemd_host.run([sys.executable, "-c", MAKE.format(user=USER)])
    assert made.returncode == 0, made.stdout
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    if systemd_host.run(["test", "-x", python]).returncode != 0:
        pytest.skip(f"{python} is not there: this interpreter may lie where only root looks")
    unable = ("--clear-groups", "--bounding-set=-all", "--no-new-privs")
    program = (python, "-m", "tests.support.systemd.as_user", made.stdout.split()[-1])
    done = systemd_host.run(
        ["setpriv", f"--reuid={USER}", f"--regid={USER}", *unable, *program],
        env={"PYTHONPATH": f"{REPO}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "uid": USER,
        "up": True,
        "modes": {
            "sockets": f"0o2750 {USER} 851968",
            "launch.env": f"0o640 {USER} 851968",
            "state": "0o700 851968 851968",
            "pods": f"0o2770 {USER} 851968",
        },
        "code": 0,
        "left": False,
        "foreign": False,
        "refused": True,
    }
