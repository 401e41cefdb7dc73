"""Agents that the host's configuration declares, with a real daemon that sees the file change by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.errors import Refused
from tests.support.lab import Lab, fresh_lab

pytestmark = pytest.mark.bwrap


def declare(file: Path, **agents: str) -> None:
    """Switch the host to another generation."""
    content = {"version": 1, "agents": {name: {"settings": text} for name, text in agents.items()}}
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content), encoding="utf-8")
    new.chmod(0o644)
    new.rename(file)


def test_the_life_of_a_declared_agent(tmp_path: Path) -> None:
    file = tmp_path / "agents.json"
    declare(file, alice='label = "A"\n')
    with fresh_lab("declared", {"HIVE_DECLARED": str(file)}) as lab:
        lab.until(lambda: lab.agents().get("alice", {}).get("declared") == "agrees")
        assert lab.agent()["phase"] == "running"
        told = lab.told("approved/0")
        assert "Hive-By: nixos-rebuild" in told

        declare(file, alice='label = "B"\n')
        lab.until(lambda: lab.git(lab.applied(), "show", "main:agent.toml") == 'label = "B"')
        history = lab.hive("history", "alice")
        assert "nixos-rebuild" in history.out

        lab.deploy('label = "by git"\n')
        lab.until(lambda: lab.agent()["declared"] == "git moved")
        lab.kill()
        declare(file, alice='label = "C"\n')
        lab.start()
        lab.until(lambda: lab.agent()["declared"] == "conflict")
        assert lab.git(lab.applied(), "show", "main:agent.toml") == 'label = "by git"'
        (waiting,) = lab.agent()["pending"]
        assert "conflict: git changed agent.toml" in lab.card(waiting)["description"]
        doctor = lab.hive("doctor")
        assert "the host's configuration and git both changed it" in doctor.out
        lab.approve(waiting)
        lab.until(lambda: lab.agent()["declared"] == "agrees")

        removed_and_destroyed(lab, file)


def removed_and_destroyed(lab: Lab, file: Path) -> None:
    with pytest.raises(Refused, match="declares alice and would bring it back"):
        lab.post("/api/agents/alice/destroy")
    declare(file)
    lab.until(lambda: lab.agent()["declared"] == "removed")
    lab.settle("alice")
    assert lab.agent()["pid"] is None
    lab.do("alice", "destroy")
    assert "alice" not in lab.agents()
