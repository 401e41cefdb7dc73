"""flake.lock of the meta repo: one agent's input changes, the others stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.desired.flake_lock import (
    local_paths,
    merge_lock,
    prune_lock,
    revision,
    shared,
    shared_hashes,
    short,
    with_shared,
    without_local,
)
from meta.errors import BadInput
from meta.names import AgentName

ALICE, BOB = AgentName("alice"), AgentName("bob")


def _lock(**revs: str) -> bytes:
    nodes = {f"agent-{name}": {"locked": {"rev": rev}} for name, rev in revs.items()}
    root = {"root": {"inputs": {name: name for name in nodes}}}
    return json.dumps({"nodes": {**nodes, **root}, "root": "root", "version": 7}).encode()


def _revs(lock: bytes) -> dict[str, str]:
    content = json.loads(lock)
    return {
        name.removeprefix("agent-"): content["nodes"][node]["locked"]["rev"]
        for name, node in content["nodes"]["root"]["inputs"].items()
    }


def test_the_lock_moves_one_agent_and_keeps_what_others_committed_meanwhile() -> None:
    merged = merge_lock(_lock(alice="a1", bob="b2"), _lock(alice="a2", bob="b1"), ALICE, {ALICE, BOB})
    assert _revs(merged) == {"alice": "a2", "bob": "b2"}


def _on(nixpkgs: str, hive: str = "h", **revs: str) -> bytes:
    """A lock with shared inputs: nixpkgs, which has an input of its own, and a checkout of hive."""
    content = json.loads(_lock(**revs))
    content["nodes"]["root"]["inputs"] |= {"nixpkgs": "nixpkgs", "hyperhive": "hyperhive"}
    content["nodes"] |= {
        "nixpkgs": {"locked": {"rev": nixpkgs, "type": "github"}, "inputs": {"lib": "lib", "again": ["nixpkgs"]}},
        "lib": {"locked": {"rev": f"lib of {nixpkgs}"}},
        "hyperhive": {"locked": {"narHash": hive, "path": "/srv/hive", "type": "path"}, "flake": False},
    }
    return json.dumps(content).encode()


def _agents(lock: bytes) -> dict[str, str]:
    return {name: rev for name, rev in _revs_of(lock).items() if name in ("alice", "bob")}


def _revs_of(lock: bytes) -> dict[str, str]:
    content = json.loads(lock)
    inputs = content["nodes"]["root"]["inputs"].items()
    return {name.removeprefix("agent-"): content["nodes"][node]["locked"].get("rev", "") for name, node in inputs}


def test_the_shared_inputs_of_the_candidate_come_with_its_agent() -> None:
    merged = merge_lock(_on("A", alice="a1", bob="b2"), _on("B", "i", alice="a2", bob="b1"), ALICE, {ALICE, BOB})
    assert _agents(merged) == {"alice": "a2", "bob": "b2"}
    assert (revision(merged, "nixpkgs"), revision(merged, "hyperhive")) == ("B", "i")
    assert json.loads(merged)["nodes"]["lib"]["locked"]["rev"] == "lib of B"
    assert shared(merged) == shared(_on("B", "i")) != shared(_on("A", "i"))


def test_an_input_of_nixpkgs_that_is_named_like_an_agents_takes_no_agents_place() -> None:
    theirs = json.loads(_on("B", alice="a2"))
    theirs["nodes"]["agent-bob"] = {"locked": {"rev": "not bob"}}
    theirs["nodes"]["nixpkgs"]["inputs"]["lib"] = "agent-bob"
    merged = merge_lock(_on("A", alice="a1", bob="b1"), json.dumps(theirs).encode(), ALICE, {ALICE, BOB})
    assert _agents(merged) == {"alice": "a2", "bob": "b1"}
    assert json.loads(merged)["nodes"]["agent-bob"]["locked"]["rev"] == "not bob"


def test_the_shared_inputs_change_without_the_agents() -> None:
    changed = with_shared(_on("A", alice="a1", bob="b1"), _on("B", alice="other"))
    assert _agents(changed) == {"alice": "a1", "bob": "b1"}
    assert shared(changed) == shared(_on("B"))


def test_what_may_change_on_this_host_is_read_again_and_nothing_else() -> None:
    found = json.loads(without_local(_on("A", alice="a1")))["nodes"]
    assert sorted(found) == ["agent-alice", "lib", "nixpkgs", "root"]
    in_store = _on("A").replace(b"/srv/hive", b"/nix/store/0-hive")
    assert sorted(json.loads(without_local(in_store))["nodes"]) == ["hyperhive", "lib", "nixpkgs", "root"]


def test_a_revision_is_shortened_for_people() -> None:
    assert short("a" * 40) == "a" * 12
    assert short("sha256-" + "b" * 44) == "sha256-" + "b" * 12
    assert short("") == ""


def test_a_destroyed_agent_leaves_the_lock() -> None:
    assert _revs(prune_lock(_lock(alice="a1", bob="b1"), {BOB})) == {"bob": "b1"}
    assert "agent-alice" not in json.loads(prune_lock(_lock(alice="a1", bob="b1"), {BOB}))["nodes"]


@pytest.mark.parametrize("lock", [b"", b"[]", b"{}", b'{"nodes": {}, "root": "root"}'])
def test_a_damaged_lock_is_named(lock: bytes) -> None:
    with pytest.raises(BadInput, match=r"flake\.lock of the meta repo is damaged"):
        merge_lock(lock, _lock(alice="a1"), ALICE, {ALICE})
    with pytest.raises(BadInput, match=r"flake\.lock of the meta repo is damaged"):
        with_shared(_lock(alice="a1"), lock)
    with pytest.raises(BadInput, match=r"flake\.lock of the meta repo is damaged"):
        without_local(lock)


def test_the_locked_revision_of_a_shared_input_is_known() -> None:
    nodes = {
        "nixpkgs": {"locked": {"type": "github", "rev": "abc", "narHash": "x"}},
        "hive_2": {"locked": {"type": "path", "path": "/srv/hive", "narHash": "sha256-y"}},
        "agent-alice": {"locked": {"type": "git", "url": "file:///applied/alice/.git"}},
        "repo": {"locked": {"type": "git", "url": "file:///srv/a%20b"}},
        "root": {"inputs": {"nixpkgs": "nixpkgs", "hyperhive": "hive_2"}},
    }
    lock = json.dumps({"nodes": nodes, "root": "root"}).encode()
    assert revision(lock, "nixpkgs") == "abc"
    assert revision(lock, "hyperhive") == "sha256-y"
    assert revision(lock, "other") == ""
    assert local_paths(lock) == (Path("/srv/hive"), Path("/srv/a b"))
    assert shared_hashes(lock) == ("x", "sha256-y")


@pytest.mark.parametrize("lock", [None, b"", b"[]", b"{}", b'{"nodes": 3, "root": []}', b'{"nodes": {"x": 3}}'])
def test_a_damaged_lock_says_nothing_about_shared_inputs(lock: bytes | None) -> None:
    assert revision(lock, "nixpkgs") == ""
    assert local_paths(lock) == ()
    assert shared_hashes(lock) == ()
    assert shared(lock) == ""
