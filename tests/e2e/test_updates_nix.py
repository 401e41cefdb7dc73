"""Builder `nix` through upgrades of hive and nixpkgs, from A to B to A, with inputs outside the store and real nix.

Nobody gets other inputs without a deploy or a rebuild, and what differs from the settings is said of exactly those
agents.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.names import AgentName
from tests.nix.evaluate import STUB, copy_of_the_repository
from tests.reconciler.builders.nix_host import NixStore
from tests.support.lab import Lab, fresh_lab

pytestmark = [pytest.mark.nix, pytest.mark.timeout(240)]
EVERYBODY = ("alice", "bob", "manager")


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Lab]:
    """Yield a hive with alice and bob on version A of both inputs. B is beside it."""
    store = NixStore.or_skip(tmp_path / "nix")
    for version in ("A", "B"):
        shutil.copytree(STUB, tmp_path / f"nixpkgs-{version}")
        made = copy_of_the_repository(tmp_path / f"hive-{version}")
        (made / "meta" / "version.txt").write_text(version)
        (tmp_path / f"nixpkgs-{version}" / "version.txt").write_text(version)
    settings = {**inputs(tmp_path, "A"), **store.environment}
    try:
        with fresh_lab("u", settings, backend="fake", builder="nix", nix=True) as lab:
            lab.spawn("alice", "bob")
            yield lab
    finally:
        store.remove()


def inputs(folder: Path, version: str) -> dict[str, str]:
    return {
        "HIVE_NIXPKGS": f"path:{folder}/nixpkgs-{version}",
        "HIVE_HYPERHIVE": f"path:{folder}/hive-{version}",
    }


def restart(lab: Lab, **settings: str) -> None:
    lab.stop()
    lab.settings |= settings
    lab.start()
    lab.until(lambda: lab.git(lab.layout.meta_git, "show", "main:flake.nix").count(lab.settings["HIVE_NIXPKGS"]))
    lab.settle()


def upgrade(lab: Lab, folder: Path, version: str, **settings: str) -> None:
    restart(lab, **inputs(folder, version), **settings)


def outdated(lab: Lab) -> set[str]:
    return {name for name, row in lab.agents().items() if row["built_with"]}


def generations(lab: Lab) -> dict[str, str]:
    return {name: row["generation"] for name, row in lab.agents().items()}


def lose(lab: Lab, name: str) -> None:
    """Somebody removes the link to what the agent runs."""
    (lab.layout.generations(AgentName(name)) / lab.agent(name)["generation"]).unlink()


def deploy(lab: Lab, name: str, label: str) -> int:
    clone = lab.commit(f'label = "{label}"\n', name)
    id = int(lab.post("/api/proposals", agent=name, source=str(clone))["id"])
    lab.settle(name)
    assert lab.approve(id)["state"] == "deployed"
    return id


def changes(lab: Lab, id: int) -> list[str]:
    return list(lab.get(f"/api/proposals/{id}/diff")["system"])


def test_from_a_to_b_to_a_nothing_changes_by_itself_and_status_tells_the_truth(hive: Lab, tmp_path: Path) -> None:
    lab, on_a = hive, generations(hive)
    assert outdated(lab) == set()

    upgrade(lab, tmp_path, "B")
    assert outdated(lab) == set(EVERYBODY)
    assert generations(lab) == on_a
    assert len(lab.events("agent_needs_update")) == len(EVERYBODY)

    deploy(lab, "alice", "new")
    assert outdated(lab) == {"bob", "manager"}
    assert generations(lab)["bob"] == on_a["bob"]

    lose(lab, "bob")
    lab.settle("bob")
    assert generations(lab)["bob"] == on_a["bob"], "a repair gives what was approved, on the old inputs"
    assert outdated(lab) == {"bob", "manager"}

    lab.do("bob", "rebuild")
    on_b = generations(lab)
    assert on_b["bob"] != on_a["bob"]
    assert outdated(lab) == {"manager"}
    lose(lab, "bob")
    lab.settle("bob")
    assert generations(lab)["bob"] == on_b["bob"], "after a rebuild a repair gives what that gave"

    lab.hive("rollback", "alice", "--wait")
    assert generations(lab)["alice"] == on_a["alice"]
    assert outdated(lab) == {"alice", "manager"}
    lose(lab, "alice")
    lab.settle("alice")
    assert generations(lab)["alice"] != on_b["alice"]
    assert outdated(lab) == {"alice", "manager"}

    upgrade(lab, tmp_path, "A")
    assert outdated(lab) == {"bob"}
    said = lab.hive("rebuild", "--all", "--stale", "--wait")
    assert (said.code, said.out) == (0, "1 agent rebuilt\n"), said.err
    assert generations(lab)["bob"] == on_a["bob"]
    assert outdated(lab) == set()


@pytest.mark.full
def test_a_new_nixpkgs_alone_counts_and_is_rebuilt_by_itself_where_that_is_set(hive: Lab, tmp_path: Path) -> None:
    restart(hive, HIVE_NIXPKGS=inputs(tmp_path, "B")["HIVE_NIXPKGS"])
    assert outdated(hive) == set(EVERYBODY)
    (told,) = (each for each in hive.agent("bob")["conditions"] if "rebuild" in each)
    assert told.startswith("built with nixpkgs sha256-")
    restart(hive, HIVE_AUTO_UPDATE="all")
    hive.until(lambda: any(event["data"]["by"] == "hive" for event in hive.events("rebuild_all_ended")))
    assert outdated(hive) == set()


@pytest.mark.full
def test_a_checkout_that_moved_on_counts_when_the_daemon_starts(hive: Lab, tmp_path: Path) -> None:
    (tmp_path / "hive-A" / "meta" / "version.txt").write_text("pulled")
    hive.settle()
    assert outdated(hive) == set()
    restart(hive)
    hive.until(lambda: outdated(hive) == set(EVERYBODY))
    hive.do("bob", "rebuild")
    assert outdated(hive) == {"alice", "manager"}


@pytest.mark.full
def test_a_proposal_from_before_is_shown_again_on_the_new_inputs_and_can_be_approved(hive: Lab, tmp_path: Path) -> None:
    clone = hive.commit('label = "waits"\n', "alice")
    id = int(hive.post("/api/proposals", agent="alice", source=str(clone))["id"])
    hive.settle("alice")
    before = hive.get(f"/api/proposals/{id}/diff")["shown"]
    upgrade(hive, tmp_path, "B")
    assert hive.get(f"/api/proposals/{id}/diff")["shown"] != before
    assert hive.hive("approve", str(id), "--shown", before).code != 0
    assert "~ unit hive-harness.service" in changes(hive, id), "of the upgrade"
    hive.do("alice", "rebuild")
    hive.settle("alice")
    assert changes(hive, id) == ["~ file /etc/hive/agent.toml"], "the upgrade runs now"
    assert hive.approve(id)["state"] == "deployed"
    lock = json.loads(hive.git(hive.layout.meta_git, "show", "main:flake.lock"))
    assert lock["nodes"]["nixpkgs"]["locked"]["path"] == f"{tmp_path}/nixpkgs-B"
