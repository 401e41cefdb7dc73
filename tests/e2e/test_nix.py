"""Builder `nix` in a real daemon (backend fake): what a proposal would become is shown, approved as shown, built."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from meta.names import AgentName, ProposalId
from tests.nix.evaluate import STUB, copy_of_the_repository
from tests.reconciler.builders.nix_host import NixStore
from tests.support import older_layout
from tests.support.lab import Lab, fresh_lab

pytestmark = pytest.mark.nix

PORT = "{ ... }: { hive.agent.file = ./agent.toml; networking.firewall.allowedTCPPorts = [ 8080 ]; }\n"
WRONG = '{ ... }: { hive.agent.file = ./agent.toml; networking.hostNaame = "x"; }\n'
FAILS = """{ ... }: {
  hive.agent.file = ./agent.toml;
  environment.systemPackages = [ (derivation {
    name = "broken"; system = builtins.currentSystem or "x86_64-linux"; builder = "/bin/sh";
    args = [ "-c" "echo it is broken >&2; exit 1" ];
  }) ];
}
"""


@pytest.fixture(scope="module")
def nix_hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A hive with alice, built by nix in a store of its own."""
    store = NixStore.or_skip(tmp_path_factory.mktemp("nix"))
    hive = copy_of_the_repository(tmp_path_factory.mktemp("hive") / "hive")
    settings = {"HIVE_NIXPKGS": f"path:{STUB}", "HIVE_HYPERHIVE": f"path:{hive}", **store.environment}
    try:
        with fresh_lab("n", settings, backend="fake", builder="nix", nix=True) as made:
            made.spawn("alice")
            yield made
    finally:
        store.remove()


def propose(lab: Lab, nix: str) -> int:
    """Commit `nix` as alice's agent.nix and propose; the id."""
    clone = lab.commit('label = "nix"\n')
    (clone / "agent.nix").write_text(nix, encoding="utf-8")
    lab.git(clone, "commit", "-q", "-a", "-m", "another system")
    return int(lab.post("/api/proposals", agent="alice", source=str(clone))["id"])


def build_before_approval(lab: Lab) -> None:
    """Have HIVE_PREBUILD from now on: these tests share a hive, and run in any order."""
    if "HIVE_PREBUILD" not in lab.settings:
        lab.settings["HIVE_PREBUILD"] = "true"
        lab.kill()
        lab.start()


def test_a_spawned_agent_has_a_system_in_the_store_and_a_gc_root(nix_hive: Lab) -> None:
    (root,) = nix_hive.layout.generations(AgentName("alice")).iterdir()
    assert (root / "init").exists()
    assert nix_hive.agent("alice")["generation"] == root.name


def test_what_would_run_is_shown_and_the_approval_is_bound_to_it(nix_hive: Lab) -> None:
    id = propose(nix_hive, PORT)
    nix_hive.settle("alice")
    shown = nix_hive.get(f"/api/proposals/{id}/diff")
    assert "+ open port tcp/8080" in shown["system"]
    assert not shown["same"]
    assert nix_hive.hive("approve", str(id), "--shown", "0" * 20).code != 0
    assert nix_hive.hive("approve", str(id), "--shown", shown["shown"]).code == 0
    nix_hive.settle("alice")
    assert nix_hive.card(id)["state"] == "deployed"
    assert "Hive-Shown-Derivation: " in nix_hive.told(f"approved/{id}")


def test_a_preview_is_made_at_once_not_at_the_next_resync(nix_hive: Lab) -> None:
    nix_hive.settings["HIVE_RESYNC"] = "600"
    nix_hive.kill()
    nix_hive.start()
    nix_hive.settle()
    id = propose(nix_hive, PORT.replace("8080", "8079"))
    assert nix_hive.until(lambda: nix_hive.get(f"/api/proposals/{id}/diff")["shown"])
    nix_hive.settings["HIVE_RESYNC"] = "0.5"
    nix_hive.kill()
    nix_hive.start()


def propose_beside(lab: Lab, name: str, text: str) -> dict[str, Any]:
    """Commit one more file, or another text of one, on top of what runs, and propose; what is shown of that."""
    clone = lab.commit(lab.git(lab.applied(), "show", "main:agent.toml") + "\n")
    (clone / name).write_text(text, encoding="utf-8")
    lab.git(clone, "add", "-A")
    lab.git(clone, "commit", "-q", "-m", "beside")
    id = int(lab.post("/api/proposals", agent="alice", source=str(clone))["id"])
    lab.settle("alice")
    return dict(lab.get(f"/api/proposals/{id}/diff"))


def test_a_change_that_the_summary_has_no_words_for_is_told(nix_hive: Lab) -> None:
    running = nix_hive.git(nix_hive.applied(), "show", "main:agent.nix")
    text = running.rpartition("}")[0] + 'system.systemBuilderCommands = "x";\n}\n'
    shown = propose_beside(nix_hive, "agent.nix", text)
    assert not shown["same"]
    assert shown["system"] == ["~ something else in the system changed: read the patch"]
    assert "read the patch" in nix_hive.hive("diff", str(shown["id"])).out


def test_a_commit_that_changes_nothing_of_the_system_is_called_the_same(nix_hive: Lab) -> None:
    shown = propose_beside(nix_hive, "NOTES", "read by nobody")
    assert shown["shown"]
    assert (shown["same"], shown["system"]) == (True, [])
    assert "the system stays the same" in nix_hive.hive("diff", str(shown["id"])).out


def test_an_approval_at_once_waits_for_the_preview(nix_hive: Lab) -> None:
    id = propose(nix_hive, PORT.replace("8080", "8081"))
    assert nix_hive.approve(id)["state"] == "deployed"
    assert "Hive-Shown-Derivation: " in nix_hive.told(f"approved/{id}")


def test_what_does_not_evaluate_says_so_on_the_card_and_fails_when_it_is_approved(nix_hive: Lab) -> None:
    before = nix_hive.agent("alice")
    id = propose(nix_hive, WRONG)
    nix_hive.settle("alice")
    shown = nix_hive.get(f"/api/proposals/{id}/diff")
    assert "hostNaame" in shown["complaint"]
    assert nix_hive.approve(id)["state"] == "failed"
    assert "hostNaame" in nix_hive.told(f"failed/{id}")
    assert nix_hive.agent("alice")["pid"] == before["pid"]


def test_a_builder_that_fails_ends_the_id_with_the_end_of_its_log(nix_hive: Lab) -> None:
    id = propose(nix_hive, FAILS)
    assert nix_hive.approve(id)["state"] == "failed"
    assert "it is broken" in nix_hive.told(f"failed/{id}")
    assert any("it is broken" in line for line in nix_hive.get(f"/api/proposals/{id}/diff")["build"])
    assert "it is broken" in nix_hive.hive("diff", str(id)).out


def test_what_evaluates_to_something_else_than_was_shown_is_not_built(nix_hive: Lab) -> None:
    id = propose(nix_hive, PORT.replace("8080", "8082"))
    nix_hive.settle("alice")
    nix_hive.kill()
    path = nix_hive.layout.preview(AgentName("alice"), ProposalId(id))
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["shown"]["derivation"] = os.path.join("/nix/store", "0" * 32 + "-other.drv")  # noqa: PTH118
    path.write_text(json.dumps(kept), encoding="utf-8")
    nix_hive.start()
    assert nix_hive.approve(id)["state"] == "failed"
    assert "changed since it was shown" in nix_hive.told(f"failed/{id}")


def test_a_preview_that_was_lost_is_made_again(nix_hive: Lab) -> None:
    id = propose(nix_hive, PORT.replace("8080", "8083"))
    nix_hive.settle("alice")
    nix_hive.kill()
    nix_hive.layout.preview(AgentName("alice"), ProposalId(id)).unlink()
    nix_hive.start()
    nix_hive.settle("alice")
    assert nix_hive.get(f"/api/proposals/{id}/diff")["shown"] is not None


def test_what_is_built_before_approval_goes_again_when_it_is_denied(nix_hive: Lab) -> None:
    """With HIVE_PREBUILD: a gc root while it waits, none after the denial, and the approved one is not built twice."""
    alice = AgentName("alice")
    build_before_approval(nix_hive)
    before = set(nix_hive.layout.generations(alice).iterdir())
    denied = propose(nix_hive, PORT.replace("8080", "8090"))
    nix_hive.settle("alice")
    (root,) = set(nix_hive.layout.generations(alice).iterdir()) - before
    assert (root / "init").exists()
    assert nix_hive.layout.root(alice, ProposalId(denied)).exists()
    assert nix_hive.card(denied)["state"] == "proposal"
    nix_hive.post(f"/api/proposals/{denied}/deny", reason="no")
    nix_hive.settle("alice")
    assert not root.is_symlink()
    assert not nix_hive.layout.root(alice, ProposalId(denied)).exists()
    assert before <= set(nix_hive.layout.generations(alice).iterdir())
    approved = propose(nix_hive, PORT.replace("8080", "8091"))
    nix_hive.settle("alice")
    (built,) = set(nix_hive.layout.generations(alice).iterdir()) - before
    assert nix_hive.approve(approved)["state"] == "deployed"
    assert nix_hive.agent("alice")["generation"] == built.name


def test_a_builder_that_fails_before_approval_says_so_on_the_card(nix_hive: Lab) -> None:
    build_before_approval(nix_hive)
    id = propose(nix_hive, FAILS)
    nix_hive.settle("alice")
    assert "it is broken" in nix_hive.get(f"/api/proposals/{id}/diff")["complaint"]
    assert nix_hive.card(id)["state"] == "proposal"
    nix_hive.post(f"/api/proposals/{id}/deny")


def test_an_agent_of_an_older_hive_is_locked_with_the_others_and_built(nix_hive: Lab) -> None:
    bob = AgentName("bob")
    nix_hive.kill()
    older_layout.make(nix_hive.layout, bob)
    nix_hive.start()
    nix_hive.settle("bob")
    assert nix_hive.agent("bob")["phase"] == "running"
    (root,) = nix_hive.layout.generations(bob).iterdir()
    assert (root / "init").exists()
    lock = json.loads((nix_hive.layout.meta / "flake.lock").read_text(encoding="utf-8"))
    pinned = nix_hive.ref("refs/heads/main", "bob")
    assert lock["nodes"]["agent-bob"]["locked"]["rev"] == pinned
    assert {"agent-alice", "agent-bob", "nixpkgs"} <= lock["nodes"].keys()
