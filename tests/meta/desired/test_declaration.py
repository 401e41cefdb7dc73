"""The file in which the host's configuration declares agents, and the files that a declaration owns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.desired.declaration import read, stamp
from meta.desired.declared_files import WRAPPERS, DeclaredFiles
from meta.desired.declared_module import MOST_FILES
from meta.errors import BadInput, NotFound, Refused
from meta.names import AgentName

ALICE = AgentName("alice")
GIT = {"agent.toml": b"git\n", "agent.nix": b"{ }", "flake.nix": b"f", "own/a": b"a"}


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Make files that only their owner can write."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def write(folder: Path, content: object) -> Path:
    path = folder / "agents.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(0o644)
    return path


def test_the_actor_names_the_hosts_generation_and_revision_as_far_as_they_are_known(tmp_path: Path) -> None:
    (tmp_path / "system").symlink_to("system-7-link")
    known = {"version": 1, "revision": "f" * 40, "profile": str(tmp_path / "system"), "agents": {}}
    assert read(write(tmp_path, known)).by == "nixos-rebuild (generation 7, revision ffffffffffff)"
    assert read(write(tmp_path, {**known, "revision": None})).by == "nixos-rebuild (generation 7)"
    assert read(write(tmp_path, {**known, "profile": "/nowhere", "revision": None})).by == "nixos-rebuild"
    assert read(write(tmp_path, {"version": 1, "agents": {}})).by == "nixos-rebuild"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "the file"),
        ("[]", "the file"),
        ({"version": 1}, "agents"),
        ({"version": 1, "agents": []}, "agents"),
        ({"version": 9, "agents": {}}, "version 9"),
    ],
)
def test_a_file_that_hive_does_not_understand_is_refused_with_the_place(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        read(write(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        ("elevenandone", {}, "12 characters, the limit is 11"),
        ("hive", {}, "reserved"),
        ("../x", {}, "lower-case letter"),
        ("alice", {"modul": "x"}, "modul: "),
        ("alice", {"settings": 1}, "settings: "),
        ("alice", None, "the entry: "),
        ("alice", {"module": "relative.nix"}, "no absolute path"),
        ("alice", {"module": "/a\0b"}, "NUL"),
    ],
)
def test_an_entry_that_cannot_be_used_breaks_only_itself(tmp_path: Path, name: str, entry: object, words: str) -> None:
    declared = read(write(tmp_path, {"version": 1, "agents": {name: entry, "bob": {}}}))
    assert set(declared.agents) == {"bob"}
    assert words in declared.broken[name]


def test_the_actor_is_the_generation_of_the_moment(tmp_path: Path) -> None:
    link = tmp_path / "system"
    link.symlink_to("system-42-link")
    declared = read(write(tmp_path, {"version": 1, "profile": str(link), "agents": {}}))
    assert declared.by == "nixos-rebuild (generation 42)"
    link.unlink()
    link.symlink_to("system-43-link")
    assert declared.by == "nixos-rebuild (generation 43)"


def test_a_file_in_a_folder_where_others_can_replace_it_approves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, {"version": 1, "agents": {}})
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="has the mode 0777"):
        read(path)


def test_a_file_that_others_can_write_or_that_is_missing_approves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, {"version": 1, "agents": {}})
    for mode in (0o666, 0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(Refused, match="others than root could have written it"):
            read(path)
    with pytest.raises(NotFound):
        read(tmp_path / "none")
    assert stamp(tmp_path / "none") is None


def module(folder: Path, path: Path) -> DeclaredFiles:
    declared = read(write(folder, {"version": 1, "agents": {"alice": {"module": str(path)}}}))
    assert not declared.broken, declared.broken
    return declared.agents[ALICE]


def test_a_module_is_a_file_or_a_folder_with_a_default_nix(tmp_path: Path) -> None:
    one = tmp_path / "one.nix"
    one.write_bytes(b"1")
    assert module(tmp_path, one).module == {"declared.nix": b"1"}
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "default.nix").write_bytes(b"d")
    (folder / "sub" / "x").write_bytes(b"x")
    assert module(tmp_path, folder).module == {"declared/default.nix": b"d", "declared/sub/x": b"x"}


def test_a_module_that_cannot_be_used_breaks_only_its_agent(tmp_path: Path) -> None:
    for name in ("empty", "linked", "many"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked" / "default.nix").symlink_to("/etc/passwd")
    for number in range(MOST_FILES + 1):
        (tmp_path / "many" / f"{number}.nix").touch()
    given = {
        "bare": {"module": str(tmp_path / "empty")},
        "link": {"module": str(tmp_path / "linked")},
        "many": {"module": str(tmp_path / "many")},
        "none": {"module": str(tmp_path / "none")},
        "odd": {"settings": "label = 1"},
        "cladue": {"settings": 'runtime = "cladue"'},
        "good": {},
    }
    declared = read(write(tmp_path, {"version": 1, "agents": given}))
    assert set(declared.agents) == {"good"}
    reasons = {str(name): reason for name, reason in declared.broken.items()}
    for name, words in {
        "bare": "without default.nix",
        "link": "no regular file",
        "many": "more than",
        "none": "does not exist",
        "odd": "label: must be text",
        "cladue": "runtime: must be",
    }.items():
        assert words in reasons[name]
    assert declared.names == frozenset(given)


def refusal(folder: Path, path: Path) -> str:
    declared = read(write(folder, {"version": 1, "agents": {"alice": {"module": str(path)}}}))
    assert not declared.agents
    return declared.broken[ALICE]


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_module_that_others_can_write_approves_nothing(tmp_path: Path, mode: int) -> None:
    one = tmp_path / "one.nix"
    one.write_bytes(b"{ }")
    one.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(one)
    for path in (one, link):
        assert f"one.nix has the mode {mode:04o}" in refusal(tmp_path, path)
        assert "make it root's, with the mode 0644" in refusal(tmp_path, path)


def test_a_module_in_a_folder_where_others_can_replace_it_approves_nothing(tmp_path: Path) -> None:
    inner = tmp_path / "open" / "inner"
    inner.mkdir(parents=True)
    (inner / "default.nix").write_bytes(b"{ }")
    inner.parent.chmod(0o777)
    for path in (inner, inner / "default.nix"):
        assert "open has the mode 0777" in refusal(tmp_path, path)
    inner.parent.chmod(0o1777)  # as /tmp: nobody can replace another user's file
    assert module(tmp_path, inner).module == {"declared/default.nix": b"{ }"}


@pytest.mark.parametrize("inside", ["default.nix", "sub", "sub/x"])
def test_every_file_and_folder_of_a_module_is_checked(tmp_path: Path, inside: str) -> None:
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "default.nix").write_bytes(b"{ }")
    (tmp_path / "m" / "sub" / "x").write_bytes(b"x")
    (tmp_path / "m" / inside).chmod(0o777)
    assert f"{inside} has the mode 0777" in refusal(tmp_path, tmp_path / "m")


def test_a_module_of_another_user_approves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = tmp_path / "one.nix"
    one.write_bytes(b"{ }")
    if os.geteuid() == 0:
        os.chown(one, 4242, 4242)
        assert "belongs to the uid 4242" in refusal(tmp_path, one)
    path = write(tmp_path, {"version": 1, "agents": {}})
    monkeypatch.setattr(os, "geteuid", lambda: 4243)
    os.chown(path, 4242, 4242) if os.getuid() == 0 else None
    with pytest.raises(Refused, match="belongs to the uid"):
        read(path)


@pytest.mark.unprivileged  # root reads every folder
def test_a_folder_that_cannot_be_read_breaks_its_agent(tmp_path: Path) -> None:
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "default.nix").write_bytes(b"{ }")
    (tmp_path / "m" / "sub").chmod(0)
    assert "cannot be read" in refusal(tmp_path, tmp_path / "m")


def test_a_module_outside_the_store_is_seen_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, folder = tmp_path / "one.nix", tmp_path / "folder"
    one.write_bytes(b"1")
    folder.mkdir()
    (folder / "default.nix").write_bytes(b"{ }")
    content = {"alice": {"module": str(one)}, "bob": {"module": str(folder)}, "carol": {"module": "/nowhere/x"}}
    path = write(tmp_path, {"version": 1, "agents": content})
    declared = read(path)
    assert not declared.modules_changed()
    one.write_bytes(b"2")
    assert declared.modules_changed()
    declared = read(path)
    (folder / "more.nix").write_bytes(b"{ }")
    assert declared.modules_changed()
    monkeypatch.setenv("NIX_STORE_DIR", str(tmp_path))  # what lies in the store never changes
    declared = read(path)
    one.write_bytes(b"3")
    assert not declared.modules_changed()


def test_settings_own_agent_toml_and_nothing_else() -> None:
    declared = DeclaredFiles(b"new\n", {})
    assert declared.wanted(ALICE, GIT) == {**GIT, "agent.toml": b"new\n"}
    assert declared.managed(GIT) == {"agent.toml": b"git\n"}


def test_a_module_owns_agent_nix_and_its_own_files() -> None:
    declared = DeclaredFiles(None, {"declared/default.nix": b"m"})
    before = {**GIT, "declared/old": b"o", "declared.nix": b"o"}
    wrapped = {"agent.nix": WRAPPERS["declared"], "declared/default.nix": b"m"}
    assert declared.wanted(ALICE, before) == {**GIT, **wrapped}
    assert set(declared.managed(before)) == {"agent.nix", "declared/old", "declared.nix"}


def test_without_its_module_the_agent_has_the_templates_again_but_keeps_what_git_wrote() -> None:
    declared = DeclaredFiles(b"new\n", {})
    was = {**GIT, "agent.nix": WRAPPERS["declared.nix"], "declared.nix": b"m"}
    after = declared.wanted(ALICE, was)
    assert "declared.nix" not in after
    assert after["agent.nix"].startswith(b"# The container of alice")
    assert declared.wanted(ALICE, GIT)["agent.nix"] == GIT["agent.nix"]


def test_applying_a_declaration_twice_changes_nothing_more() -> None:
    for declared in (
        DeclaredFiles(None, {}),
        DeclaredFiles(b"s", {}),
        DeclaredFiles(None, {"declared.nix": b"m"}),
        DeclaredFiles(b"s", {"declared/default.nix": b"m"}),
    ):
        once = declared.wanted(ALICE, GIT)
        assert declared.wanted(ALICE, once) == once


def test_two_declarations_have_one_digest_only_if_they_are_the_same() -> None:
    digests = {
        DeclaredFiles(settings, module).digest
        for settings in (None, b"", b"a")
        for module in ({}, {"declared.nix": b""}, {"declared.nix": b"a"}, {"declared/default.nix": b"a"})
    }
    assert len(digests) == 12
