"""A hive that starts beside agents of an older one: they are migrated, a damaged one is held and named."""

from __future__ import annotations

import json
import os

import pytest

from meta.layout import FOLDERS
from meta.names import MANAGER, AgentName
from reconciler.upkeep.migration.look import begun
from tests.support import older_layout
from tests.support.lab import discard, fresh_lab

BOB, CAROL = AgentName("bob"), AgentName("carol")


@pytest.mark.bwrap
def test_an_older_agent_runs_after_a_start_and_a_damaged_one_is_held_and_named() -> None:
    with fresh_lab("o") as lab:
        lab.spawn("alice")
        lab.kill()
        older_layout.put_in_flight(older_layout.make(lab.layout, BOB))
        folder = older_layout.make(lab.layout, CAROL)
        (folder / ".git/refs/tags/deployed/2").write_bytes(b"")
        before = {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        lab.start()
        lab.settle("bob")
        assert lab.agent("bob")["phase"] == "running"
        assert lab.agent("bob")["deployed"] == 0
        (event,) = lab.events("agents_migrated")
        assert event["data"] == {"count": 1, "agents": ["bob"]}
        login = lab.layout.agent_home(BOB) / ".claude/.credentials.json"
        assert login.read_text(encoding="utf-8") == older_layout.LOGIN
        lab.deploy('label = "two"\n', "bob")
        assert lab.agent("bob")["deployed"] > 6
        lab.do("bob", "rollback")
        assert lab.agent("bob")["phase"] == "running"
        assert "migrate" in lab.hive("log").out
        row = lab.agent("carol")
        assert row["phase"] == "damaged"
        assert any("deployed/2" in line for line in row["conditions"])
        doctor = lab.hive("doctor", "--all")
        assert f"{folder} has the layout of an older hive" in doctor.out
        assert "migrated from an older hive: bob" in doctor.out
        findings = json.loads(lab.hive("audit", "verify", "--json").out)["findings"]
        assert [each for each in findings if each["agent"] == "bob" and each["level"] != "note"] == []
        assert [each["level"] for each in findings if each["agent"] == "carol"] == ["warning"]
        after = {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        assert after == before
        said = lab.hive("spawn", "carol")
        assert said.code != 0
        assert "older hive" in said.err


@pytest.mark.bwrap
def test_a_deferred_agent_is_held_and_says_what_defers_it() -> None:
    with fresh_lab("o", {"HIVE_SKIP_META_MIGRATION": "1"}) as lab:
        lab.spawn("alice")
        lab.kill()
        older_layout.make(lab.layout, BOB)
        lab.start()
        row = lab.agent("bob")
        assert row["phase"] == "damaged"
        assert any("HIVE_SKIP_META_MIGRATION" in line for line in row["conditions"])


@pytest.mark.bwrap
@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands out uids")
def test_a_first_start_gives_the_work_trees_to_the_manager_that_it_spawns() -> None:
    with fresh_lab("o") as lab:
        lab.kill()
        lab.end_agents()
        discard(lab.directory)
        for name in FOLDERS:
            (lab.layout.state / name).mkdir(parents=True, exist_ok=True)
        older_layout.make(lab.layout, BOB)
        older_layout.move_to_older_places(lab.layout, BOB)
        lab.start()
        lab.settle("manager")
        lab.until(lambda: not lab.layout.migration.exists())
        manager = lab.layout.agent_home(MANAGER).stat().st_uid
        assert lab.layout.proposed_config(BOB).stat().st_uid == manager != 0
        assert not begun(lab.layout)
