"""Builder `plain`: what is written, what is refused, what a kill or a full disk leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.applied.repo import Applied
from meta.config import Config
from meta.errors import BuildFailed, TransientError
from meta.git.objects import commit, snapshot
from meta.git.repo import FileAt
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, ProposalId, Sha
from reconciler.builders import tree
from reconciler.builders.base import BuildRequest
from reconciler.builders.plain import PlainBuilder

ALICE = AgentName("alice")
TOML = b'runtime = "script"\n'
LINK, EXECUTABLE, REGULAR = 0o120000, 0o100755, 0o100644


class Bench:
    """A builder over one real applied repo."""

    def __init__(self, tmp_path: Path) -> None:
        self.layout = Layout(tmp_path / "state", tmp_path / "run")
        self.applied = Applied(self.layout, ALICE)
        self.builder = PlainBuilder(self.layout, Config.model_validate({}), lambda agent: self.applied, "1.0")

    async def build(self, files: dict[str, bytes], modes: dict[str, int] | None = None, id: int = 1) -> Generation:
        """Commit the files and build them."""
        await self.applied.create({"README": b"seed"}, 1)
        top, objects = snapshot(files, modes or {})
        made = commit(top, (), "test", id)
        change = RefChange(f"refs/hive/test-{made.id}", new=made.id, old=ABSENT)
        if self.applied.repo.ref(change.ref) is None:
            await self.applied.repo.transaction([change], [*objects, made])
        settings = ContainerSettings(Role.AGENT, 600_000)
        return await self.builder.build(BuildRequest(ALICE, ProposalId(id), made.id, settings, Sha("c" * 40)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A builder with nothing built."""
    return Bench(tmp_path)


async def test_files_keep_content_and_exec_bit_and_nothing_is_writable(bench: Bench) -> None:
    files = {"agent.toml": TOML, "bin/tool": b"#!/bin/sh\n", "deep/er/file": b"\x00\xff"}
    generation = await bench.build(files, {"bin/tool": EXECUTABLE})
    top = generation.system / "tree"
    assert (top / "deep/er/file").read_bytes() == b"\x00\xff"
    assert (top / "bin/tool").stat().st_mode & 0o777 == 0o555
    assert (top / "agent.toml").stat().st_mode & 0o777 == 0o444
    assert not any(path.lstat().st_mode & 0o222 for path in [generation.system, *generation.system.rglob("*")])


async def test_symlinks_are_kept_as_they_are_and_never_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    files = {"agent.toml": TOML, "link": os.fsencode(outside), "dangling": b"nowhere"}
    generation = await bench.build(files, {"link": LINK, "dangling": LINK})
    link = generation.system / "tree" / "link"
    assert stat.S_ISLNK(link.lstat().st_mode)
    assert link.readlink() == outside
    assert list(outside.iterdir()) == []


def test_a_path_below_a_symlink_is_refused() -> None:
    files = {"a": FileAt(LINK, b"/etc"), "a/passwd": FileAt(REGULAR, b"evil")}
    with pytest.raises(BuildFailed, match="below a file"):
        tree.check_paths(files)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", ".git/config", "a/./b", ""])
def test_a_path_that_leaves_the_tree_is_refused(path: str) -> None:
    with pytest.raises(BuildFailed, match="leaves its tree"):
        tree.check_paths({path: FileAt(REGULAR, b"")})


async def test_the_record_says_runtime_and_settings(bench: Bench) -> None:
    generation = await bench.build({"agent.toml": b'runtime = "script"\nmodel = "opus"\n'})
    record = json.loads((generation.system / "generation.json").read_text())
    assert (record["id"], record["agent"], record["sha"]) == (generation.id, "alice", generation.sha)
    assert (record["fingerprint"], record["revision"]) == (generation.fingerprint, "1.0")
    assert (record["runtime"], record["settings"]["model"]) == ("script", "opus")


async def test_a_missing_agent_toml_is_named(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"agent\.toml is missing"):
        await bench.build({"other": b""})


async def test_an_agent_toml_that_is_a_symlink_is_refused(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"agent\.toml is a symlink"):
        await bench.build({"agent.toml": b"/etc/passwd"}, {"agent.toml": LINK})


@pytest.mark.parametrize(
    ("text", "named"),
    [(b'colour = "blue"\n', "colour"), (b"model = 3\n", "model"), (b"[limits]\nturn_seconds = -1\n", "turn_seconds")],
)
async def test_a_wrong_setting_is_named_with_its_key(bench: Bench, text: bytes, named: str) -> None:
    with pytest.raises(BuildFailed, match=named) as caught:
        await bench.build({"agent.toml": text})
    assert caught.value.hint
    assert named in caught.value.log


@pytest.mark.nix
@pytest.mark.skipif(shutil.which("nix") is None, reason="nix is not installed")
async def test_an_agent_nix_that_does_not_parse_is_named_with_what_nix_said(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"agent\.nix does not parse") as caught:
        await bench.build({"agent.toml": TOML, "agent.nix": b"{ a = ; }\n"})
    assert "unexpected ';'" in caught.value.log


async def test_without_nix_an_agent_nix_is_carried_along(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta.nix.find", lambda _recorder=None: None)
    generation = await bench.build({"agent.toml": TOML, "agent.nix": b"{ a = ; }\n"})
    assert (generation.system / "tree" / "agent.nix").read_bytes() == b"{ a = ; }\n"


async def test_what_a_killed_build_left_is_removed_by_the_next_one(bench: Bench) -> None:
    folder = bench.layout.generations(ALICE)
    (folder / ".new-dead" / "tree").mkdir(parents=True)
    (folder / ".new-dead").chmod(0o555)
    await bench.build({"agent.toml": TOML})
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


async def test_a_full_disk_is_transient_and_leaves_no_generation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    await bench.build({"agent.toml": TOML})
    monkeypatch.setattr("reconciler.builders.tree.os.fsync", full)
    with pytest.raises(TransientError, match="No space left"):
        await bench.build({"agent.toml": TOML, "more": b""}, id=2)
    monkeypatch.undo()
    assert set(bench.builder.built(ALICE)) == {1}
    await bench.build({"agent.toml": TOML, "more": b""}, id=2)
    assert set(bench.builder.built(ALICE)) == {1, 2}


async def test_a_damaged_root_counts_as_missing_and_a_build_mends_it(bench: Bench) -> None:
    await bench.build({"agent.toml": TOML})
    bench.layout.root(ALICE, ProposalId(1)).write_text("{")
    fresh = PlainBuilder(bench.layout, Config.model_validate({}), lambda agent: bench.applied, "1.0")
    assert fresh.built(ALICE) == {}
    await bench.build({"agent.toml": TOML})
    assert set(fresh.built(ALICE)) == {1}


@pytest.mark.parametrize("content", ["", "{", '{"id": "other", "runtime": "script"}'])
async def test_a_damaged_generation_counts_as_missing_and_a_build_mends_it(bench: Bench, content: str) -> None:
    generation = await bench.build({"agent.toml": TOML})
    record = generation.system / "generation.json"
    assert set(bench.builder.built(ALICE)) == {1}
    record.chmod(0o644)
    record.write_text(content)
    assert bench.builder.built(ALICE) == {}
    await bench.build({"agent.toml": TOML})
    assert set(bench.builder.built(ALICE)) == {1}


async def test_looking_again_at_what_is_built_reads_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.build({"agent.toml": TOML})
    past = time.time() - 10
    os.utime(bench.layout.roots(ALICE), (past, past))
    first = bench.builder.built(ALICE)

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"read {path}")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert bench.builder.built(ALICE) == first != {}


def _as_empty(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"")


def _as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "x").touch()


def _as_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _as_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nonexistent")


def _as_huge(file: Path) -> None:
    file.chmod(0o644)
    os.truncate(file, 2**40)


DAMAGES = [Path.unlink, _as_empty, _as_folder, _as_fifo, _as_link, _as_huge]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["tree/agent.toml", "generation.json"])
async def test_a_damaged_file_is_found_before_a_start_and_a_build_mends_it(
    bench: Bench, damage: Callable[[Path], None], name: str
) -> None:
    files = {"agent.toml": TOML, "bin/tool": b"x", "link": b"nowhere"}
    modes = {"bin/tool": EXECUTABLE, "link": LINK}
    generation = await bench.build(files, modes)
    assert await bench.builder.intact(generation)
    file = generation.system / name
    file.parent.chmod(0o755)
    damage(file)
    assert not await bench.builder.intact(generation)
    assert bench.builder.built(ALICE) == {}
    assert await bench.build(files, modes) == generation
    assert set(bench.builder.built(ALICE)) == {1}
    assert await bench.builder.intact(generation)


async def test_a_file_too_many_or_a_lost_exec_bit_is_damage(bench: Bench) -> None:
    files, modes = {"agent.toml": TOML, "bin/tool": b"x"}, {"bin/tool": EXECUTABLE}
    generation = await bench.build(files, modes)
    (generation.system / "tree/bin/tool").chmod(0o444)
    assert not await bench.builder.intact(generation)
    await bench.build(files, modes)
    (generation.system / "tree").chmod(0o755)
    (generation.system / "tree/more").touch()
    assert not await bench.builder.intact(generation)
