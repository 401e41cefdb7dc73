"""The gc roots of shared inputs, with a script instead of nix."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from meta.layout import Layout
from meta.nix import Nix, Store
from reconciler.builders import inputs


@pytest.fixture
def nix(tmp_path: Path) -> Nix:
    """Return a nix that makes the root and does nothing else."""
    program = tmp_path / "nix"
    program.with_name("nix-store").write_text('#!/bin/sh\nln -s "$2" "$5"\n')
    program.with_name("nix-store").chmod(0o755)
    (tmp_path / "store").mkdir()
    return Nix(program, store=Store(store=tmp_path / "store"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state", tmp_path / "run")


def lock(nix: Nix, *names: str) -> tuple[bytes, set[str]]:
    """Put inputs into the store. Return a lock that has them, and their names there."""
    hashes = {name: "sha256-" + base64.b64encode(hashlib.sha256(name.encode()).digest()).decode() for name in names}
    paths = [path for each in hashes.values() if (path := nix.store.input_path(each)) is not None]
    for path in paths:
        path.mkdir(exist_ok=True)
    nodes = {name: {"locked": {"narHash": hash}} for name, hash in hashes.items()}
    return json.dumps({"nodes": nodes}).encode(), {path.name for path in paths}


def rooted(layout: Layout) -> set[str]:
    return {link.name for link in layout.nix_inputs.iterdir()}


async def test_every_input_of_the_present_lock_is_rooted_however_many_it_has(layout: Layout, nix: Nix) -> None:
    text, names = lock(nix, *(f"input {number}" for number in range(9)))
    await inputs.root(layout, nix, text, isolated=False)
    await inputs.root(layout, nix, text, isolated=False)
    assert len(names) == 9
    assert rooted(layout) == names


async def test_the_inputs_of_two_older_locks_are_kept_for_a_rollback(layout: Layout, nix: Nix) -> None:
    made = []
    for number in range(4):
        text, names = lock(nix, *(f"{name} {number}" for name in ("nixpkgs", "hive", "modules")))
        await inputs.root(layout, nix, text, isolated=False)
        made.append(names)
    assert rooted(layout) == made[1] | made[2] | made[3]


async def test_a_lock_without_inputs_in_the_store_unroots_nothing(layout: Layout, nix: Nix) -> None:
    text, names = lock(nix, "nixpkgs")
    await inputs.root(layout, nix, text, isolated=False)
    await inputs.root(layout, nix, None, isolated=False)
    assert rooted(layout) == names
