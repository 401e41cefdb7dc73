"""An agent with a damaged file is held as it is, and named; the remedy that `hive doctor` gives ends that."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.lab import WAIT, Lab

pytestmark = pytest.mark.lab(agents=("alice", "bob"), backend="fake")


def restart(lab: Lab) -> None:
    lab.kill()
    lab.start()
    lab.settle()


def remedy(lab: Lab, check: str) -> str:
    """The remedy of the one thing that a check finds."""
    (row,) = [row for row in json.loads(lab.hive("doctor", "--json").out)["checks"] if row["check"] == check]
    return str(row["remedy"])


def run(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True, timeout=WAIT)


@pytest.mark.parametrize("ref", ["refs/tags/deployed/0", "refs/heads/main"])
def test_an_agent_with_an_emptied_ref_is_held_until_the_remedy_of_doctor_was_done(lab: Lab, ref: str) -> None:
    path, before = lab.applied() / ref, lab.agent()
    path.write_bytes(b"")
    restart(lab)
    held = lab.agent()
    if ref.startswith("refs/tags"):  # the branch is read by commands only
        assert (held["phase"], held["pid"]) == ("damaged", before["pid"])
        assert str(path) in lab.hive("plan", "alice").out
    assert lab.agent("bob")["phase"] == "running"

    run(remedy(lab, "damage"))

    restart(lab)
    assert (lab.agent()["phase"], lab.agent()["pid"]) == ("running", before["pid"])


def test_a_command_on_a_damaged_agent_is_refused_by_the_name_of_the_file(lab: Lab) -> None:
    path = lab.applied("bob") / "refs/tags/deployed/0"
    before = path.read_bytes()
    path.write_bytes(b"")
    restart(lab)
    said = lab.hive("rollback", "bob")
    assert said.code != 0
    assert str(path) in said.err + said.out
    path.write_bytes(before)
    restart(lab)


@pytest.mark.parametrize("command", ["stop", "start", "restart", "rebuild", "destroy"])
def test_a_ref_that_is_emptied_in_place_makes_a_running_daemon_refuse_each_command(lab: Lab, command: str) -> None:
    path = lab.applied("bob") / "refs/tags/deployed/0"
    before = path.read_bytes()
    path.write_bytes(b"")
    try:
        answer = lab.hive(command, "bob", *(["--yes"] if command == "destroy" else []))
        assert answer.code != 0
        assert f"{path} is damaged" in answer.err + answer.out
    finally:
        path.write_bytes(before)
    lab.hive("reconcile", "bob")
    assert lab.agent("bob")["phase"] == "running"


def test_an_explicit_reconcile_finds_a_ref_that_was_emptied_in_place(lab: Lab) -> None:
    path = lab.applied("bob") / "refs/tags/deployed/0"
    before = path.read_bytes()
    path.write_bytes(b"")
    try:
        answer = lab.hive("reconcile", "bob")
        assert "hive holds bob as it is" in answer.out
        assert str(path) in answer.err + answer.out
        assert lab.agent("bob")["phase"] == "damaged"
    finally:
        path.write_bytes(before)
    lab.hive("reconcile", "bob")
    assert lab.agent("bob")["phase"] == "running"


def test_a_daemon_does_not_start_on_a_damaged_meta_and_names_the_file(lab: Lab) -> None:
    path = lab.layout.meta_git / "refs/heads/main"
    before = path.read_bytes()
    path.write_bytes(b"")
    lab.kill()
    assert not lab.start(expect_ready=False)
    lab.died()
    assert f"{path} is damaged: it is empty" in lab.tail()

    run(remedy(lab, "damage"))

    assert path.read_bytes() == before
    lab.start()
    lab.settle()
    assert lab.agent()["phase"] == "running"


def test_a_damaged_agent_can_be_purged_and_spawned_again(lab: Lab) -> None:
    lab.spawn("carol")
    (lab.applied("carol") / "refs/tags/deployed/0").write_bytes(b"")
    restart(lab)
    assert lab.agent("carol")["phase"] == "damaged"
    lab.do("carol", "destroy", purge=True)
    assert "carol" not in lab.agents()
    lab.spawn("carol")
