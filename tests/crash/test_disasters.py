"""What a kill alone does not show: lost databases, restored backups, stale locks, full disks, orphans."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.errors import HiveError
from meta.process.identity import ProcessIdentity, identity
from tests.crash import agreement
from tests.crash.acts import restored
from tests.crash.cell import Cell
from tests.crash.scenarios import NAMED
from tests.support.lab import Lab, alive, fresh_lab

pytestmark = pytest.mark.bwrap

HANGS = """#!/bin/sh
[ "$1" = --version ] && exec echo "nix (Nix) 2.8.0"
[ -e "{gate}" ] && exit 0
echo $$ > "{pid}.new"; mv "{pid}.new" "{pid}"
exec sleep 600
"""


def deploy_cell(lab: Lab, failpoint: str) -> Cell:
    """A deploy of alice in whose course the daemon is dead now."""
    cell = Cell(lab, NAMED["deploy"], failpoint)
    cell.strike()
    return cell


@pytest.mark.parametrize(
    "stage",
    ["tag-approved:after", "tag-building:after", "build:after", "stop:after", "start:after", "commit-meta:after"],
)
def test_a_deploy_ends_as_deployed_when_the_database_is_lost_on_the_way(lab: Lab, stage: str) -> None:
    cell = deploy_cell(lab, stage)
    for path in lab.layout.state.glob("hive.db*"):
        path.unlink()
    assert cell.recover() == "deployed"
    agreement.check(lab, cell.before, cell.agent, stays=False)


@pytest.mark.parametrize("side", ["running", "meta"])
def test_an_agent_deployed_after_the_backup_that_meta_was_restored_from_is_held_until_the_operator_decides(
    lab: Lab, side: str
) -> None:
    old = lab.agent("alice")
    with restored(lab.layout.meta, lab):
        card = lab.deploy(f'label = "after the backup {side}"\n')
        new = lab.agent("alice")
    held = lab.agent("alice")
    assert (held["phase"], held["pid"]) == ("disagrees", new["pid"])
    assert f"deployed/{card['id']}" in lab.tags()
    assert lab.agent("bob")["phase"] == "running"

    lab.do("alice", "adopt", side=side)

    after = lab.agent("alice")
    assert after["phase"] == "running"
    if side == "running":
        assert (after["pid"], after["sha"], after["deployed"]) == (new["pid"], new["sha"], card["id"])
    else:
        assert (after["sha"], after["deployed"]) == (old["sha"], old["deployed"])
    assert lab.deploy(f'label = "and on {side}"\n')["id"] > card["id"], "an id was given twice"


def test_what_runs_and_the_tags_win_over_an_older_database(lab: Lab) -> None:
    lab.kill()
    saved = {path: path.read_bytes() for path in lab.layout.state.glob("hive.db*")}
    lab.start()
    card = lab.deploy('label = "not in the old database"\n')
    before = lab.agents()
    lab.kill()
    for path in lab.layout.state.glob("hive.db*"):
        path.unlink()
    for path, content in saved.items():
        path.write_bytes(content)
    lab.start()
    lab.settle()
    assert lab.card(card["id"])["state"] == "deployed"
    agreement.check(lab, before, "alice", stays=True)


def test_stale_locks_of_a_killed_git_are_removed_at_start(lab: Lab) -> None:
    lab.kill()
    stale = [
        lab.layout.meta_git / "packed-refs.lock",
        lab.layout.meta_git / "refs" / "heads" / "main.lock",
        lab.applied() / "refs" / "heads" / "main.lock",
        lab.applied() / "config.lock",
        lab.applied() / "HEAD.lock",
    ]
    for path in stale:
        path.touch()
    lab.start()
    assert lab.deploy('label = "past stale locks"\n')["state"] == "deployed"
    assert [path for path in stale if path.exists()] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Lab, Path]]:
    """A hive whose state is on a small file system of its own, and the file that fills it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    directory = Path(f"/tmp/hive-{os.getpid()}-d")
    directory.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "hive-test", directory], check=True, timeout=10)
    try:
        (directory / "in").mkdir(mode=0o755)
        lab = Lab(directory / "in", nix=False)
        lab.start()
        lab.spawn("alice")
        yield lab, directory / "filler"
        lab.kill()
        lab.end_agents()
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True, timeout=10)
        shutil.rmtree(directory)


def fill(filler: Path) -> None:
    """Until not a byte is left."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break


def test_a_full_disk_refuses_the_approval_by_name_and_loses_nothing(small_disk: tuple[Lab, Path]) -> None:
    lab, filler = small_disk
    id = lab.propose('label = "when there is room"\n')
    pid = lab.agent("alice")["pid"]
    fill(filler)

    said = lab.hive("approve", str(id))

    assert said.code != 0
    assert "no space" in (said.err + said.out).lower()
    assert f"approved/{id}" not in lab.tags()
    filler.unlink()
    assert lab.agent("alice")["pid"] == pid
    assert lab.card(id)["state"] == "proposal"
    assert lab.approve(id)["state"] == "deployed"


def test_a_disk_that_fills_during_a_deploy_delays_it(small_disk: tuple[Lab, Path]) -> None:
    lab, filler = small_disk
    id = lab.propose('label = "a little later"\n')
    lab.arm("tag-building:after")
    with pytest.raises((OSError, HiveError)):
        lab.approve(id)
    lab.died()
    fill(filler)
    lab.start()
    assert "is full" in lab.hive("status").out
    assert "Traceback" not in lab.log.read_text(encoding="utf-8")
    filler.unlink()
    lab.settle()
    assert lab.card(id)["state"] in ("deployed", "failed")
    assert lab.agent("alice")["phase"] == "running"


def test_an_external_command_that_outlives_the_daemon_is_ended_before_anything_else(tmp_path: Path) -> None:
    gate, pid = tmp_path / "gate", tmp_path / "pid"
    stand_in = tmp_path / "bin" / "nix"
    stand_in.parent.mkdir()
    stand_in.write_text(HANGS.format(gate=gate, pid=pid), encoding="utf-8")
    stand_in.chmod(0o755)
    stand_in.with_name("nix-instantiate").symlink_to("/bin/true")
    gate.touch()
    with fresh_lab("o", {"PATH": f"{stand_in.parent}:{os.environ['PATH']}"}, nix=True) as lab:
        lab.spawn("alice")
        id = lab.propose('label = "with an orphan"\n')
        gate.unlink()
        lab.post(f"/api/proposals/{id}/approve")
        lab.until(pid.exists)
        orphan = identity(int(pid.read_text(encoding="ascii")))
        lab.kill()
        assert alive(orphan.pid), "it is no orphan"
        gate.touch()
        lab.start()
        lab.settle()
        wait_for_end(orphan)
        assert lab.card(id)["state"] == "deployed"
        lab.until(lambda: list(lab.layout.processes.iterdir()) == [])  # discovery may start processes beside the loop


def wait_for_end(process: ProcessIdentity) -> None:
    """It is over, or ends within seconds."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    ended = select.select([fd], [], [], 5)[0]
    os.close(fd)
    assert ended, "the orphan still runs"
