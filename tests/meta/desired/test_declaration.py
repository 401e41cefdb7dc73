"""The file in which the host's configuration declares agents, and the files that a declaration owns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.desired.declaration import MOST_FILES, read, stamp
from meta.desired.declared_files import WRAPPERS, DeclaredFiles
from meta.errors import BadInput, NotFound, Refused
from meta.names import AgentName

ALICE = AgentName("alice")
GIT = {"agent.toml": b"git\n", "agent.nix": b"{ }", "flake.nix": b"f", "own/a": b"a"}


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
        ({"version": 1, "agents": {"elevenandone": {}}}, "12 characters, the limit is 11"),
        ({"version": 1, "agents": {"hive": {}}}, "reserved"),
        ({"version": 1, "agents": {"../x": {}}}, "lower-case letter"),
        ({"version": 9, "agents": {}}, "version 9"),
        ({"version": 1, "agents": {"alice": {"modul": "x"}}}, r"agents\.alice\.modul"),
        ({"version": 1, "agents": {"alice": {"settings": 1}}}, r"agents\.alice\.settings"),
    ],
)
def test_a_file_that_hive_does_not_understand_is_refused_with_the_place(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        read(write(tmp_path, content))


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
        "claude": {"settings": 'runtime = "claude"'},
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
        "claude": "no runtime",
    }.items():
        assert words in reasons[name]
    assert declared.names == frozenset(given)


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
