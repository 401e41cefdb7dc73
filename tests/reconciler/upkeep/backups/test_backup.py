"""What a backup holds, and everything that a restore refuses: nothing of a tar is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import json
import os
import signal
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meta.agent_toml.logins import LOGIN_FILES
from meta.applied.repo import Applied
from meta.config import Config
from meta.errors import BadInput, Conflict, Damaged, NotFound, PermanentError
from meta.git import packs
from meta.layout import Layout
from meta.model import TagState
from meta.names import ProposalId
from reconciler.upkeep.audit import verify
from reconciler.upkeep.backups import archive, packing
from reconciler.upkeep.backups import write as backup
from reconciler.upkeep.backups.packing import effective
from reconciler.upkeep.backups.restore import Part, restore
from tests.support.hive_state import ALICE, AT, BY, make, propose_edit

ORIGIN = backup.Origin(
    Config.model_validate({"nixpkgs": "git+https://me:token@example.org/x?access_token=abc"}), "daemon", "r"
)
Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


@pytest.fixture
async def layout(tmp_path: Path) -> Layout:
    return await make(tmp_path / "one")


@pytest.fixture
async def file(layout: Layout, tmp_path: Path) -> Path:
    """A backup of it."""
    target = tmp_path / "b.tar"
    await write(layout, target)
    return target


async def write(layout: Layout, target: Path, wanted: backup.Wanted | None = None) -> archive.Manifest:
    return await backup.write(layout, target, wanted or backup.Wanted(), ORIGIN, contextlib.nullcontext())


def bind(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def elsewhere(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "two" / "s", tmp_path / "two" / "r")


def changed(file: Path, change: Change) -> Path:
    """The same tar after `change` of its members."""
    with tarfile.open(file) as tar:
        members = [(each, (found.read() if (found := tar.extractfile(each)) else b"")) for each in tar]
    change(members)
    target = file.with_name("changed.tar")
    with tarfile.open(target, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def member(
    name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, data if kind == tarfile.REGTYPE else b""


def with_manifest(change: Callable[[dict[str, Any]], None]) -> Change:
    def apply(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info, data = members.pop()
        manifest = json.loads(data)
        change(manifest)
        members.append((info, json.dumps(manifest).encode()))

    return apply


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "agents.json", "flake.nix")
    }


async def test_what_is_restored_is_what_was_there(layout: Layout, file: Path, tmp_path: Path) -> None:
    target = elsewhere(tmp_path)
    done = restore(file, target)
    assert done.aside == ()
    before, after = tree(layout.state), tree(target.state)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {"hive.db"}
    assert (await verify.verify(target)).findings == ()
    assert stat.S_IMODE(target.state.stat().st_mode) == 0o711
    assert stat.S_IMODE(target.database.stat().st_mode) == 0o600
    assert [path.name for path in target.state.parent.iterdir()] == ["s"]


async def test_a_name_that_ends_in_gz_is_compressed(layout: Layout, tmp_path: Path) -> None:
    await write(layout, tmp_path / "b.tar.gz")
    assert (tmp_path / "b.tar.gz").read_bytes()[:2] == b"\x1f\x8b"
    restore(tmp_path / "b.tar.gz", elsewhere(tmp_path))


async def test_the_manifest_says_what_it_is_and_the_settings_without_a_login(layout: Layout, tmp_path: Path) -> None:
    manifest = await write(layout, tmp_path / "b.tar")
    assert manifest.settings["HIVE_NIXPKGS"] == "git+https://example.org/x?access_token="
    assert manifest.settings["HIVE_RESYNC"] == "30.0"
    assert (manifest.settings_of, manifest.hive, manifest.format) == ("daemon", "r", archive.FORMAT)
    assert list(manifest.agents) == ["alice"]
    assert effective(ORIGIN.config) == manifest.settings
    assert archive.decode(archive.encode(manifest)) == manifest


async def test_packed_refs_and_packs_are_backed_up(layout: Layout, tmp_path: Path) -> None:
    from meta.process.run import run

    repo = layout.applied_git(ALICE)
    await run(["git", "-C", repo, "repack", "-q", "-a", "-d"], deadline=20)
    await run(["git", "-C", repo, "pack-refs", "--all"], deadline=20)
    await write(layout, tmp_path / "b.tar")
    target = elsewhere(tmp_path)
    restore(tmp_path / "b.tar", target)
    assert (await verify.verify(target)).findings == ()
    assert (target.applied_git(ALICE) / "refs/tags/deployed/1").exists()


REFUSED: dict[str, Change] = {
    "goes up": lambda m: m.insert(0, member("../evil")),
    "goes up inside": lambda m: m.insert(0, member("agents/alice/home/../../../evil")),
    "is absolute": lambda m: m.insert(0, member("/tmp/evil")),
    "is a hook": lambda m: m.insert(0, member("meta/.git/hooks/update")),
    "is a configuration": lambda m: m.insert(0, member("applied/alice/.git/config")),
    "is alternates": lambda m: m.insert(0, member("applied/alice/.git/objects/info/alternates")),
    "is a lock": lambda m: m.insert(0, member("applied/alice/.git/refs/heads/main.lock")),
    "is of an odd agent": lambda m: m.insert(0, member("applied/-x/.git/refs/heads/main")),
    "is a symlink": lambda m: m.insert(0, member("agents/alice/home/x", kind=tarfile.SYMTYPE, link="/etc")),
    "is a hard link": lambda m: m.insert(0, member("agents/alice/home/x", kind=tarfile.LNKTYPE, link="hive.db")),
    "is a device": lambda m: m.insert(0, member("agents/alice/home/x", kind=tarfile.CHRTYPE)),
    "is a pipe": lambda m: m.insert(0, member("owner", kind=tarfile.FIFOTYPE)),
    "comes twice": lambda m: m.insert(0, member("owner", b"1" * 32)),
    "is a file and a directory": lambda m: m.__setitem__(
        slice(0, 0), [member("agents/alice/home"), member("agents/alice/home/x")]
    ),
    "is no ref": lambda m: m.insert(0, member("meta/.git/refs/heads/evil", b"ref: refs/heads/main\n")),
    "is not in the manifest": lambda m: m.insert(0, member("meta/.git/refs/heads/evil", b"1" * 40 + b"\n")),
    "is missing": lambda m: m.__delitem__(0),
    "was changed": lambda m: m.__setitem__(0, (m[0][0], m[0][1][:-1] + b"?")),
    "comes behind the manifest": lambda m: m.append(member("owner")),
    "is no manifest": lambda m: m.__setitem__(-1, (m[-1][0], b"{}")),
    "has no manifest": lambda m: m.__delitem__(-1),
    "is of a later format": with_manifest(lambda said: said.update(format=99)),
    "has a wrong hash": with_manifest(lambda said: said["files"]["owner"].__setitem__(0, "0" * 64)),
    "has another meta": with_manifest(lambda said: said.update(meta="1" * 40)),
    "has an unknown key": with_manifest(lambda said: said.update(extra=1)),
}


@pytest.mark.parametrize("what", list(REFUSED))
async def test_a_backup_in_which_something_is_wrong_is_refused_and_leaves_nothing(
    file: Path, tmp_path: Path, what: str
) -> None:
    target = elsewhere(tmp_path)
    with pytest.raises(BadInput):
        restore(changed(file, REFUSED[what]), target)
    assert list(target.state.parent.iterdir()) == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kept", [0, 511, 5000, -1500])
async def test_a_backup_that_was_cut_off_is_refused(layout: Layout, tmp_path: Path, kept: int) -> None:
    for name in ("b.tar", "b.tar.gz"):
        await write(layout, tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: kept if kept >= 0 else len(data) // 2])
        with pytest.raises(BadInput):
            restore(tmp_path / name, elsewhere(tmp_path))


def test_a_header_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    bomb = tarfile.TarInfo("meta/x")
    bomb.pax_headers = {"comment": "x" * 2_000_000}
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(bomb)
    with pytest.raises(BadInput, match="header is too long"):
        restore(tmp_path / "b.tar.gz", elsewhere(tmp_path))


async def test_a_file_of_holes_is_left_out_and_named(layout: Layout, tmp_path: Path) -> None:
    state = layout.agent_state(ALICE)
    state.mkdir(parents=True)
    with (state / "holes").open("wb") as file:
        file.truncate(2**40)
    manifest = await write(layout, tmp_path / "b.tar", backup.Wanted(agents=True))
    assert manifest.skipped == ("agents/alice/state/holes",)


async def test_a_file_under_a_lease_is_left_out_and_named(layout: Layout, tmp_path: Path) -> None:
    state = layout.agent_state(ALICE)
    state.mkdir(parents=True)
    (state / "leased").write_bytes(b"x")
    (state / "other").write_bytes(b"x")
    descriptor = os.open(state / "leased", os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # SIGIO would end the tests
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        manifest = await write(layout, tmp_path / "b.tar", backup.Wanted(agents=True))
    finally:
        os.close(descriptor)
    assert manifest.skipped == ("agents/alice/state/leased",)
    assert "agents/alice/state/other" in manifest.files


@pytest.mark.parametrize("replace", [lambda path: path.symlink_to("/etc/shadow"), bind], ids=["symlink", "socket"])
async def test_what_is_put_in_the_place_of_a_file_meanwhile_is_left_out_and_named(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Path], None]
) -> None:
    file = layout.agent_state(ALICE) / "swapped"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    real = os.stat

    def swap(path: Any, **options: Any) -> os.stat_result:
        status = real(path, **options)
        if path == "swapped":
            file.unlink()
            replace(file)
        return status

    monkeypatch.setattr(os, "stat", swap)
    manifest = await write(layout, tmp_path / "b.tar", backup.Wanted(agents=True))
    assert manifest.skipped == ("agents/alice/state/swapped",)


async def test_no_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        restore(tmp_path / "nothing.tar", elsewhere(tmp_path))


async def test_a_directory_in_use_is_left_alone(layout: Layout, file: Path) -> None:
    before = tree(layout.state)
    with pytest.raises(Conflict, match="is not empty"):
        restore(file, layout)
    with backup.held(layout), pytest.raises(Conflict, match="a daemon runs"):
        restore(file, layout, force=True)
    with backup.held(layout), pytest.raises(Conflict, match="a daemon runs"):
        restore(file, layout, only=Part.DATABASE)
    assert tree(layout.state) == before


async def test_force_moves_what_was_there_aside(layout: Layout, file: Path) -> None:
    (layout.state / "precious").write_text("x", encoding="ascii")
    done = restore(file, layout, force=True)
    (aside,) = done.aside
    assert (aside / "precious").exists()
    assert not (layout.state / "precious").exists()
    assert (await verify.verify(layout)).findings == ()


@pytest.mark.parametrize("part", list(Part))
async def test_one_part_is_replaced_and_the_old_one_kept(layout: Layout, file: Path, part: Part) -> None:
    before = tree(layout.state)
    done = restore(file, layout, only=part)
    assert done.aside
    assert all(path.exists() for path in done.aside)
    after = tree(layout.state)
    assert before.keys() <= after.keys()
    assert not [path for path in layout.state.iterdir() if ".restore-" in path.name]
    assert (await verify.verify(layout)).findings == ()


async def test_a_copy_beside_the_original_gets_an_id_of_its_own(layout: Layout, file: Path, tmp_path: Path) -> None:
    restore(file, elsewhere(tmp_path), new_owner=True)
    assert elsewhere(tmp_path).owner.read_text() != layout.owner.read_text()


async def test_links_and_pipes_of_agents_are_left_out_and_named(layout: Layout, tmp_path: Path) -> None:
    home = layout.agent_home(ALICE)
    home.mkdir(parents=True)
    (home / "ünï").write_bytes(b"fine")
    (home / "empty").mkdir(mode=0o500)
    (home / "link").symlink_to("/etc/shadow")
    os.mkfifo(home / "pipe")
    layout.agent_state(ALICE).symlink_to("/etc")
    manifest = await write(layout, tmp_path / "b.tar", backup.Wanted(agents=True))
    assert sorted(manifest.skipped) == ["agents/alice/home/link", "agents/alice/home/pipe"]
    target = elsewhere(tmp_path)
    restore(tmp_path / "b.tar", target)
    assert (target.agent_home(ALICE) / "ünï").read_bytes() == b"fine"
    assert stat.S_IMODE((target.agent_home(ALICE) / "empty").stat().st_mode) == 0o500
    assert not target.agent_state(ALICE).exists()


@pytest.mark.parametrize(
    "file", [*sorted(LOGIN_FILES), ".codex/auth.json.tmp", ".claude/.credentials.json.a1", ".codex/.auth.json.x"]
)
async def test_no_login_of_a_coding_agent_is_in_a_backup(layout: Layout, tmp_path: Path, file: str) -> None:
    login = layout.agent_home(ALICE) / file
    login.parent.mkdir(parents=True, exist_ok=True)
    login.write_bytes(b"a token of alice")
    (login.parent / "notes").write_bytes(b"fine")
    manifest = await write(layout, tmp_path / "b.tar", backup.Wanted(agents=True))
    assert manifest.skipped == (f"agents/alice/home/{file}",)
    assert b"a token of alice" not in (tmp_path / "b.tar").read_bytes()
    target = elsewhere(tmp_path)
    restore(tmp_path / "b.tar", target)
    assert [path.name for path in (target.agent_home(ALICE) / file).parent.iterdir()] == ["notes"]


async def test_without_agents_no_file_of_theirs_is_in_a_backup(layout: Layout, tmp_path: Path) -> None:
    for folder in (layout.agent_home(ALICE), layout.agent_state(ALICE)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key").write_bytes(b"a token of alice")
    await write(layout, tmp_path / "b.tar")
    assert b"a token of alice" not in (tmp_path / "b.tar").read_bytes()


async def test_a_backup_follows_no_symlink_in_the_place_of_a_work_trees_parent(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "elsewhere" / "config"
    secret.mkdir(parents=True)
    (secret / "secret").touch()
    parent = layout.proposed(ALICE)
    if parent.exists():
        parent.rename(tmp_path / "before")
    parent.parent.mkdir(exist_ok=True)
    parent.symlink_to(secret.parent)
    # swapped after the look at what is there
    monkeypatch.setattr(packing, "agents_in", lambda folder: iter([ALICE] if folder == parent.parent else []))
    manifest = await write(layout, tmp_path / "b.tar", backup.Wanted(proposed=True))
    assert not [name for name in manifest.files if name.endswith("secret")]


async def test_a_backup_that_cannot_be_written_leaves_nothing(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="nowhere"):
        await write(layout, tmp_path / "nowhere" / "b.tar")
    (tmp_path / "b.tar").write_text("an older one", encoding="ascii")
    (layout.meta_git / "refs" / "heads" / "main").unlink()
    (layout.meta_git / "HEAD").unlink()
    with pytest.raises(Damaged):
        await write(layout, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text(encoding="ascii") == "an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "one"]


async def test_a_part_that_is_restored_twice_in_one_second_keeps_both_old_ones(
    layout: Layout, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.upkeep.backups.restore.time.strftime", lambda *_: "before-then")
    layout.database.write_bytes(b"the first")
    first = restore(file, layout, only=Part.DATABASE).aside
    layout.database.write_bytes(b"the second")
    second = restore(file, layout, only=Part.DATABASE).aside
    assert [path.read_bytes() for path in (*first, *second)] == [b"the first", b"the second"]
    for part in (Part.META, Part.APPLIED):
        asides = {*restore(file, layout, only=part).aside, *restore(file, layout, only=part).aside}
        assert len(asides) == 2
        assert all((path / ".git").is_dir() for path in asides)


@pytest.mark.parametrize("uid", [-1, 0, 65_535, 2**32 - 1, 2**32, 2**63])
async def test_an_owner_that_no_agent_can_have_becomes_the_states(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    home = layout.agent_home(ALICE)
    (home / "in").mkdir(parents=True)
    (home / "in/x").write_bytes(b"x")
    await write(layout, tmp_path / "b.tar", backup.Wanted(agents=True))

    def owned(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        for info, _ in members:
            info.uid = uid
            info.gid = 600_000

    given: list[int] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append(uid))
    monkeypatch.setattr(os, "chown", lambda _, uid, gid, **__: given.append(uid))
    restore(changed(tmp_path / "b.tar", owned), elsewhere(tmp_path))
    assert set(given) == {0}


async def test_a_proposal_that_is_denied_meanwhile_is_whole_in_the_backup(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied, id = Applied(layout, ALICE), ProposalId(2)
    sha = await propose_edit(applied, id)
    snapshot = backup._snapshot

    def then_deny(where: Layout) -> packing.Refs:
        refs = snapshot(where)
        asyncio.run(Applied(layout, ALICE).transition(id, TagState.DENIED, by=BY, at=AT))
        return refs

    monkeypatch.setattr(backup, "_snapshot", then_deny)
    await write(layout, tmp_path / "b.tar")
    restored = elsewhere(tmp_path)
    restore(tmp_path / "b.tar", restored)
    assert (await Applied(restored, ALICE).files(sha))["agent.toml"].data == b'label = "2"\n'
    assert packs.ids(layout.applied_git(ALICE)) == {id}
    assert await applied.remove_ended() == (id,)
