"""Builder `nix` in a real daemon (backend fake): what a proposal would become is shown, approved as shown, built."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.names import AgentName, ProposalId
from meta.process import sandbox
from tests.nix.evaluate import STUB, copy_of_the_repository
from tests.reconciler.builders.nix_host import NixStore
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
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A hive with alice, built by nix in a store of its own."""
    program = shutil.which("nix")
    if program is None:
        pytest.skip("nix is not installed (apt-get install nix-bin)")
    if sandbox.available() is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    store = NixStore.make(Path(program), tmp_path_factory.mktemp("nix"))
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


def test_a_spawned_agent_has_a_system_in_the_store_and_a_gc_root(lab: Lab) -> None:
    (root,) = lab.layout.generations(AgentName("alice")).iterdir()
    assert (root / "init").exists()
    assert lab.agent("alice")["generation"] == root.name


def test_what_would_run_is_shown_and_the_approval_is_bound_to_it(lab: Lab) -> None:
    id = propose(lab, PORT)
    lab.settle("alice")
    shown = lab.get(f"/api/proposals/{id}/diff")
    assert "+ open port tcp/8080" in shown["system"]
    assert not shown["same"]
    assert lab.hive("approve", str(id), "--shown", "0" * 20).code != 0
    assert lab.hive("approve", str(id), "--shown", shown["shown"]).code == 0
    lab.settle("alice")
    assert lab.card(id)["state"] == "deployed"
    assert "Hive-Shown-Derivation: " in lab.told(f"approved/{id}")


def test_a_preview_is_made_at_once_not_at_the_next_resync(lab: Lab) -> None:
    lab.settings["HIVE_RESYNC"] = "600"
    lab.kill()
    lab.start()
    lab.settle()
    id = propose(lab, PORT.replace("8080", "8079"))
    assert lab.until(lambda: lab.get(f"/api/proposals/{id}/diff")["shown"])
    lab.settings["HIVE_RESYNC"] = "0.5"
    lab.kill()
    lab.start()


def test_a_change_that_no_summary_names_is_not_called_the_same(lab: Lab) -> None:
    running = (lab.git(lab.applied(), "show", "main:agent.nix")) + "\n"
    other = propose(lab, running.replace("{ ... }: {", '{ ... }: { environment.etc."x".text = "y";', 1))
    lab.settle("alice")
    found = lab.get(f"/api/proposals/{other}/diff")
    assert (found["same"], found["system"]) == (False, [])
    assert "read the patch" in lab.hive("diff", str(other)).out


def test_an_approval_at_once_waits_for_the_preview(lab: Lab) -> None:
    id = propose(lab, PORT.replace("8080", "8081"))
    assert lab.approve(id)["state"] == "deployed"
    assert "Hive-Shown-Derivation: " in lab.told(f"approved/{id}")


def test_what_does_not_evaluate_says_so_on_the_card_and_fails_when_it_is_approved(lab: Lab) -> None:
    before = lab.agent("alice")
    id = propose(lab, WRONG)
    lab.settle("alice")
    shown = lab.get(f"/api/proposals/{id}/diff")
    assert "hostNaame" in shown["complaint"]
    assert lab.approve(id)["state"] == "failed"
    assert "hostNaame" in lab.told(f"failed/{id}")
    assert lab.agent("alice")["pid"] == before["pid"]


def test_a_builder_that_fails_ends_the_id_with_the_end_of_its_log(lab: Lab) -> None:
    id = propose(lab, FAILS)
    assert lab.approve(id)["state"] == "failed"
    assert "it is broken" in lab.told(f"failed/{id}")
    assert any("it is broken" in line for line in lab.get(f"/api/proposals/{id}/diff")["build"])
    assert "it is broken" in lab.hive("diff", str(id)).out


def test_what_evaluates_to_something_else_than_was_shown_is_not_built(lab: Lab) -> None:
    id = propose(lab, PORT.replace("8080", "8082"))
    lab.settle("alice")
    lab.kill()
    path = lab.layout.preview(AgentName("alice"), ProposalId(id))
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["shown"]["derivation"] = os.path.join("/nix/store", "0" * 32 + "-other.drv")  # noqa: PTH118
    path.write_text(json.dumps(kept), encoding="utf-8")
    lab.start()
    assert lab.approve(id)["state"] == "failed"
    assert "changed since it was shown" in lab.told(f"failed/{id}")


def test_a_preview_that_was_lost_is_made_again(lab: Lab) -> None:
    id = propose(lab, PORT.replace("8080", "8083"))
    lab.settle("alice")
    lab.kill()
    lab.layout.preview(AgentName("alice"), ProposalId(id)).unlink()
    lab.start()
    lab.settle("alice")
    assert lab.get(f"/api/proposals/{id}/diff")["shown"] is not None


def test_what_is_built_before_approval_goes_again_when_it_is_denied(lab: Lab) -> None:
    """With HIVE_PREBUILD: a gc root while it waits, none after the denial, and the approved one is not built twice."""
    alice = AgentName("alice")
    lab.settings["HIVE_PREBUILD"] = "true"
    lab.kill()
    lab.start()
    before = set(lab.layout.generations(alice).iterdir())
    denied = propose(lab, PORT.replace("8080", "8090"))
    lab.settle("alice")
    (root,) = set(lab.layout.generations(alice).iterdir()) - before
    assert (root / "init").exists()
    assert lab.layout.root(alice, ProposalId(denied)).exists()
    assert lab.card(denied)["state"] == "proposal"
    lab.post(f"/api/proposals/{denied}/deny", reason="no")
    lab.settle("alice")
    assert not root.is_symlink()
    assert not lab.layout.root(alice, ProposalId(denied)).exists()
    assert before <= set(lab.layout.generations(alice).iterdir())
    approved = propose(lab, PORT.replace("8080", "8091"))
    lab.settle("alice")
    (built,) = set(lab.layout.generations(alice).iterdir()) - before
    assert lab.approve(approved)["state"] == "deployed"
    assert lab.agent("alice")["generation"] == built.name


def test_a_builder_that_fails_before_approval_says_so_on_the_card(lab: Lab) -> None:
    assert lab.settings.get("HIVE_PREBUILD") == "true"
    id = propose(lab, FAILS)
    lab.settle("alice")
    assert "it is broken" in lab.get(f"/api/proposals/{id}/diff")["complaint"]
    assert lab.card(id)["state"] == "proposal"
    lab.post(f"/api/proposals/{id}/deny")
