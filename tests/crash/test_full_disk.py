"""A disk that an agent fills from its sandbox: the operator can stop it, and a daemon starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.as_user import run_tests_as_user
from tests.support.lab import Lab, fresh_lab

pytestmark = pytest.mark.bwrap

NO_LIMIT = {"HIVE_AGENT_DISK_MIB": "0"}


@pytest.fixture
def settings() -> dict[str, str]:
    return {}


@pytest.fixture
def small(settings: dict[str, str], tmp_path: Path) -> Iterator[Lab]:
    """A hive on a file system of 64 MiB, with an agent that fills it when told."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    directory = Path(f"/tmp/hive-{os.getpid()}-f")
    directory.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "hive-test", directory], check=True, timeout=10)
    try:
        (directory / "in").mkdir(mode=0o755)
        for name in ("log", "pauses"):  # what the lab writes about a daemon, as a journal is on another disk
            (directory / "in" / name).symlink_to(tmp_path / name)
        lab = Lab(directory / "in", settings, filling=True)
        lab.start()
        lab.spawn("alice")
        yield lab
        lab.kill()
        lab.end_agents()
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True, timeout=10)
        shutil.rmtree(directory)


def state(lab: Lab) -> Path:
    return lab.layout.state / "agents" / "alice" / "state"


def fill(lab: Lab) -> None:
    """Let the agent fill the disk, and wait until not a block is free."""
    (state(lab) / "fill").touch()
    lab.until(lambda: os.statvfs(lab.layout.state).f_bavail == 0)


@pytest.mark.parametrize("settings", [NO_LIMIT])
def test_the_operator_stops_the_agent_that_fills_the_disk(small: Lab) -> None:
    fill(small)
    small.until(lambda: "alice holds the most" in small.hive("status").out)

    said = small.hive("stop", "alice", "--now")

    assert said.code == 0, said.err + small.tail()
    stopped = small.agent("alice")
    assert (stopped["pid"], stopped["desired"], stopped["phase"]) == (None, "stopped", "stopped")
    (state(small) / "filler").unlink()
    small.until(lambda: "is full" not in small.hive("status").out)
    assert [len(small.events(kind)) for kind in ("disk_full", "disk_freed")] == [1, 1]
    assert sum(path.stat().st_blocks for path in small.layout.reserve.iterdir()) * 512 >= 64 * 2**20 // 100


def test_an_agent_above_its_limit_is_stopped_and_starts_again_when_it_is_below(small: Lab) -> None:
    assert "32.0 MiB for each agent, measured, not enforced" in small.hive("status").out
    fill(small)

    small.until(lambda: small.agent("alice")["phase"] == "over-disk")

    row = small.agent("alice")
    assert row["pid"] is None
    assert "the limit is 32.0 MiB (measured, not enforced)" in " ".join(row["conditions"])
    for name in ("fill", "filler"):
        (state(small) / name).unlink()
    small.until(lambda: small.agent("alice")["phase"] == "running")


@pytest.mark.parametrize("settings", [NO_LIMIT])
def test_an_agent_that_fills_the_disk_with_an_unlinked_file_is_named_and_no_other(small: Lab) -> None:
    (state(small) / "unlink").touch()
    fill(small)

    small.until(lambda: "alice holds the most" in small.hive("status").out)

    assert small.hive("stop", "alice", "--now").code == 0
    small.until(lambda: "is full" not in small.hive("status").out)
    assert [event["data"]["biggest"] for event in small.events("disk_full")] == ["alice"]


def test_an_agent_above_its_limit_with_an_unlinked_file_is_stopped(small: Lab) -> None:
    (state(small) / "unlink").touch()
    (state(small) / "fill").touch()

    small.until(lambda: bool(small.events("agent_over_disk")))

    (state(small) / "fill").unlink()
    small.until(lambda: small.agent("alice")["phase"] == "running")


@pytest.mark.parametrize("settings", [NO_LIMIT])
def test_nobody_is_named_if_a_file_outside_of_the_agents_fills_the_disk(small: Lab) -> None:
    with (small.directory.parent / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)

    small.until(lambda: "what fills it is not among the agents' files" in small.hive("status").out)

    assert "holds the most" not in small.hive("status").out


@pytest.mark.parametrize("settings", [NO_LIMIT])
def test_a_daemon_starts_on_a_disk_that_an_agent_goes_on_filling(small: Lab) -> None:
    fill(small)
    small.kill()
    del small.settings["HIVE_AGENT_DISK_MIB"]

    small.start()

    small.until(lambda: "is full" in small.hive("status").out)
    small.until(lambda: small.agent("alice")["phase"] == "over-disk")
    assert small.agent("manager")["pid"] is not None


def test_a_denial_and_a_message_of_the_operator_have_room_on_the_reserve(small: Lab) -> None:
    id = small.propose('label = "not now"\n')
    with (small.directory.parent / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)

    denied, sent = small.hive("deny", str(id), "-m", "full"), small.hive("send", "alice", "wait")

    assert (denied.code, sent.code) == (0, 0), denied.err + sent.err
    assert f"denied/{id}" in small.tags()
    assert "wait" in small.inbox("alice")


def test_an_agent_that_is_above_its_limit_when_a_daemon_starts_is_stopped() -> None:
    with fresh_lab("q", {"HIVE_AGENT_DISK_MIB": "2"}) as lab:
        lab.spawn("alice")
        lab.kill()
        (state(lab) / "large").write_bytes(b"x" * 3 * 2**20)

        lab.start()

        lab.until(lambda: lab.agent("alice")["phase"] == "over-disk")
        assert lab.agent("alice")["pid"] is None
        (state(lab) / "large").unlink()
        lab.until(lambda: lab.agent("alice")["phase"] == "running")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs it itself")
def test_an_ordinary_users_agents_are_measured_too() -> None:
    name = test_an_agent_that_is_above_its_limit_when_a_daemon_starts_is_stopped.__name__
    done = run_tests_as_user(f"tests/crash/test_full_disk.py::{name}")
    assert done.returncode == 0, done.stdout + done.stderr
