"""`hive doctor` as the operator runs it: beside a daemon, without one, and before the next one starts."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from api.cli.client.exit_codes import Code
from meta.names import AgentName
from tests.support.lab import Lab, Said

ALICE = AgentName("alice")

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice",), backend="fake", fresh=True)]


def found(said: Said, verdict: str) -> list[dict[str, Any]]:
    """The findings of that verdict."""
    return [row for row in json.loads(said.out)["checks"] if row["verdict"] == verdict]


def test_beside_a_daemon_that_is_well_nothing_fails(lab: Lab) -> None:
    said = lab.hive("doctor", "--json")
    assert (said.code, found(said, "fail")) == (Code.OK, []), said
    report = json.loads(said.out)
    assert (report["ok"], report["daemon"]) == (True, True)
    (daemon,) = (row for row in report["checks"] if row["check"] == "daemon")
    assert (daemon["verdict"], "backend fake" in daemon["text"]) == ("ok", True)
    assert set(daemon) == {"check", "verdict", "text", "remedy", "fixable", "fixed", "removes"}
    assert "0 failed" in lab.hive("doctor").out


def test_what_a_killed_daemon_left_is_found_mended_and_no_longer_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVE_BACKEND", "fake")
    lab.kill()
    stale = lab.layout.applied_git(ALICE) / "HEAD.lock"
    stale.touch()
    lab.layout.scratch.rmdir()
    said = lab.hive("doctor")
    assert said.code == Code.FAILED
    for words in ("locks        fail", "directories  warn", "sockets      warn", "daemon       warn", "What to do"):
        assert words in said.out, said.out
    said = lab.hive("doctor", "--fix", "--yes")
    assert said.code == Code.OK, said.out
    assert f"locks        fixed  removed {stale}" in said.out
    assert not stale.exists()
    assert not lab.layout.http_socket.exists()
    assert found(lab.hive("doctor", "--json"), "fail") == []
    lab.start()
    lab.settle()
    assert lab.agent()["phase"] == "running"


def test_beside_a_daemon_an_agent_that_was_given_up_and_a_broken_work_tree_fail(lab: Lab) -> None:
    git = lab.layout.proposed_config(ALICE) / ".git"
    git.rename(git.with_name("was.git"))
    os.mkfifo(git)
    lab.settings |= {"HIVE_CRASH_LIMIT": "1", "HIVE_PUSH_GROUP": "no-such-group"}
    lab.stop()
    lab.start()
    lab.settle()
    path = lab.layout.backend("fake") / "alice.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    ended = {"nonce": record["launch"]["nonce"], "at": time.time(), "code": 7, "signal": None, "lost": False}
    path.write_text(json.dumps({**record, "pid": None, "exit": ended}), encoding="utf-8")
    lab.post("/api/reconcile", agent="alice")
    lab.until(lambda: lab.agent()["phase"] == "failed")
    said = lab.hive("doctor")
    assert said.code == Code.FAILED
    assert "alice is failed" in said.out
    assert f"{git} is not a directory but a pipe" in said.out
    assert "there is no group no-such-group" in lab.log.read_text(encoding="utf-8")


def test_a_wrong_setting_is_one_more_failure(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVE_RESYNC", "soon")
    said = lab.hive("doctor", "--json")
    assert said.code == Code.FAILED
    assert [row["check"] for row in found(said, "fail")] == ["settings"]
