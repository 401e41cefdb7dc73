"""`hive stop --all` and `hive start --all`: what runs, who is remembered, and what one failure leaves alone."""

from __future__ import annotations

import json

import pytest

from api.cli.client.exit_codes import Code
from tests.support.lab import Lab

pytestmark = pytest.mark.lab(agents=("alice", "bob"), backend="fake")


def phases(lab: Lab) -> dict[str, str]:
    return {name: row["phase"] for name, row in lab.agents().items()}


def test_start_all_starts_what_stop_all_stopped_and_not_what_was_stopped_by_name(lab: Lab) -> None:
    lab.do("bob", "stop")
    done = lab.hive("stop", "--all", "--wait")
    assert done.code == Code.OK, done
    assert done.out == "alice is stopped\nbob: it is stopped already\nmanager is stopped\n"
    assert set(phases(lab).values()) == {"stopped"}
    assert lab.hive("stop", "--all").out.count("it is stopped already") == 3  # a second time changes no memory

    run = json.loads(lab.git(lab.layout.meta_git, "show", "run:run.json"))["agents"]
    assert {name for name, entry in run.items() if entry.get("with_all")} == {"alice", "manager"}
    lab.kill()
    lab.start()  # the memory is in meta

    done = lab.hive("start", "--all", "--wait")
    assert done.code == Code.OK, done
    assert done.out.splitlines()[0::2] == ["alice is up", "manager is up"]
    assert "bob: it was stopped by name; `hive start bob` starts it" in done.out
    assert phases(lab) == {"alice": "running", "bob": "stopped", "manager": "running"}
    lab.do("bob", "start")


def test_an_agent_that_is_stopped_by_name_after_all_were_stays_stopped(lab: Lab) -> None:
    lab.hive("stop", "--all", "--wait")
    lab.do("alice", "stop")
    assert lab.hive("start", "--all", "--wait").code == Code.OK
    assert phases(lab) == {"alice": "stopped", "bob": "running", "manager": "running"}
    lab.do("alice", "start")
    run = json.loads(lab.git(lab.layout.meta_git, "show", "run:run.json"))["agents"]
    assert not any("with_all" in entry for entry in run.values())


def test_an_agent_that_cannot_be_stopped_is_named_and_the_others_are(lab: Lab) -> None:
    tag = lab.applied("bob") / "refs/tags/deployed/0"
    kept = tag.read_bytes()
    tag.write_bytes(b"")
    try:
        done = lab.hive("stop", "--all", "--wait", "--json")
        rows = {row["agent"]: row for row in json.loads(done.out)}
        assert done.code == Code.FAILED
        assert (rows["alice"]["accepted"], rows["bob"]["accepted"]) == ("stop", None)
        assert rows["bob"]["error"]
        assert rows["bob"]["remedy"]
        assert phases(lab)["alice"] == "stopped"
    finally:
        tag.write_bytes(kept)
    assert lab.hive("start", "--all", "--wait").code == Code.OK
