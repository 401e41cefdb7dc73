"""What is wrong with a proposal is said before anybody approves it, also where nothing is evaluated."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice",), nix=True)]
OTHER = 'runtime = "cladue"\n'


def test_a_runtime_that_is_not_there_is_refused_in_words_before_approval(lab: Lab) -> None:
    id = lab.propose(OTHER)
    shown = lab.hive("diff", str(id)).out
    assert "it cannot be built:" in shown
    assert "runtime: must be 'script', 'claude', 'codex'" in shown
    before = lab.agent()["pid"]
    assert lab.approve(id)["state"] == "failed"
    assert "runtime: must be 'script', 'claude', 'codex'" in lab.told(f"failed/{id}")
    assert lab.agent()["pid"] == before


@pytest.mark.nix
@pytest.mark.skipif(shutil.which("nix") is None, reason="nix is not installed")
def test_an_agent_nix_that_does_not_parse_is_told_before_approval(lab: Lab) -> None:
    clone = lab.commit('label = "broken"\n')
    (clone / "agent.nix").write_text("{ ... }: {\n  a = ;\n}\n", encoding="utf-8")
    lab.git(clone, "commit", "-q", "-a", "-m", "a typing mistake")
    id = lab.post("/api/proposals", agent="alice", source=str(clone))["id"]
    shown = lab.hive("diff", str(id), "--json")
    complaint = json.loads(shown.out)["complaint"]
    assert complaint.startswith("agent.nix does not parse: syntax error, unexpected ';'")
    assert "nix-instantiate --parse agent.nix" in complaint
    assert lab.hive("deny", str(id)).code == 0
    assert json.loads(lab.hive("diff", str(id), "--json").out)["complaint"] is None


def test_nothing_is_said_of_what_can_be_built(lab: Lab) -> None:
    id = lab.propose('label = "fine"\n')
    assert "cannot be built" not in lab.hive("diff", str(id)).out
    assert lab.approve(id)["state"] == "deployed"
