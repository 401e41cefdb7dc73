"""`hive audit` on a hive that runs: beside the daemon, without it, and after somebody changed the record."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

import pytest

from tests.support.lab import Lab


def verify(lab: Lab, *options: str) -> tuple[int, list[dict[str, object]]]:
    """Return the exit code, and the findings but for the note on the denied id."""
    said = lab.hive("audit", "verify", "--json", *options)
    assert said.err == ""
    findings = json.loads(said.out)["findings"]
    return said.code, [finding for finding in findings if finding["rule"] != "not-kept"]


def make_history(lab: Lab) -> None:
    """Deploy, deny, fail, roll back, destroy, purge and spawn again."""
    lab.deploy('label = "one"\n')
    lab.post(f"/api/proposals/{lab.propose('denied')}/deny", reason="no")
    lab.deploy("runtime = 3\n")  # fails
    lab.post("/api/agents/alice/rollback")
    lab.settle()
    lab.do("bob", "destroy")
    lab.do("carol", "destroy", purge=True)
    lab.spawn("carol")


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(agents=("alice", "bob", "carol"), settings={"HIVE_HEALTH_DEADLINE": "10"}, prepare=make_history),
]


def test_a_life_with_deploys_failures_rollback_destroy_and_purge_has_no_fault(lab: Lab) -> None:
    assert verify(lab) == (0, [])
    lab.stop()
    assert verify(lab) == (0, [])
    lab.start()
    lab.settle()
    assert verify(lab) == (0, [])


def test_it_says_who_approved_what_they_saw(lab: Lab) -> None:
    id = lab.propose('label = "seen"\n')
    sha = lab.ref(f"proposal/{id}")
    lab.approve(id)
    said = lab.hive("audit", "approvals")
    (line,) = [line for line in said.out.splitlines() if line.split()[:2] == ["alice", str(id)]]
    assert f"operator uid {os.geteuid()}" in line
    assert sha[:12] in line
    said = lab.hive("audit", "verify", "--json")
    assert {"agent": "alice", "id": id, "by": f"operator uid {os.geteuid()}", "seen": sha, "sha": sha} in [
        {key: each[key] for key in ("agent", "id", "by", "seen", "sha")} for each in json.loads(said.out)["approvals"]
    ]


def test_what_was_taken_back_since_an_earlier_audit_and_a_changed_event_are_found_beside_the_daemon(lab: Lab) -> None:
    earlier = lab.directory / "earlier.json"
    earlier.write_text(lab.hive("audit", "verify", "--json").out, encoding="utf-8")
    lab.deploy('label = "later"\n')
    assert verify(lab, "--since", str(earlier)) == (0, [])
    with contextlib.closing(sqlite3.connect(lab.layout.database, isolation_level=None)) as database:
        database.execute("UPDATE events SET at = at + 1 WHERE n = 5")
    said = lab.hive("audit", "verify")
    assert said.code == 1
    assert "event 5 or the hash before it was changed" in said.out
    assert "1 faults" in said.out or "1 fault" in said.out
    said = lab.hive("audit", "verify", "--since", "/nowhere")
    assert (said.code, "cannot read /nowhere" in said.err) == (2, True)
