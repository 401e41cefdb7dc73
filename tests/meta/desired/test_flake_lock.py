"""flake.lock of the meta repo: one agent's input changes, the others stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.desired.flake_lock import local_paths, merge_lock, prune_lock, revision, shared_hashes
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


def test_a_destroyed_agent_leaves_the_lock() -> None:
    assert _revs(prune_lock(_lock(alice="a1", bob="b1"), {BOB})) == {"bob": "b1"}
    assert "agent-alice" not in json.loads(prune_lock(_lock(alice="a1", bob="b1"), {BOB}))["nodes"]


@pytest.mark.parametrize("lock", [b"", b"[]", b"{}", b'{"nodes": {}, "root": "root"}'])
def test_a_damaged_lock_is_named(lock: bytes) -> None:
    with pytest.raises(BadInput, match=r"flake\.lock of the meta repo is damaged"):
        merge_lock(lock, _lock(alice="a1"), ALICE, {ALICE})


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
