"""services.hive.agents and agentModules: the file that the daemon follows, as the module writes it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from meta.config import config_from_environment
from meta.desired.declaration import read
from meta.names import AgentName
from tests.nix.evaluate import HERE, ROOT, Evaluator, NixFailed

ALICE = AgentName("alice")
_FOLDER = """let
  lib = import @here@/stub-nixpkgs/lib;
  pkgs = import @here@/stub-nixpkgs/pkgs.nix { inherit lib; system = "x86_64-linux"; };
  folder = import @module@ { inherit lib pkgs; modules = [ @modules@ ]; };
in
derivation {
  name = "folder";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [ "-c" "PATH=/run/current-system/sw/bin:/usr/bin:/bin\n${folder.script}" ];
}
"""


@pytest.fixture(scope="module")
def declaring(nix: Evaluator) -> Any:
    """A host that declares alice and bob."""
    return nix.json(HERE / "host.nix", hyperhive="path:/hive")["evaluated"]["declaring"]


def test_the_daemon_reads_what_the_module_writes(declaring: Any, tmp_path: Path) -> None:
    assert declaring["failed"] == []
    content = json.loads(declaring["declared"])
    module = content["agents"]["alice"]["module"]
    assert module.endswith("-agent.nix")
    content["agents"]["alice"]["module"] = None  # the evaluation only names the store path
    path = tmp_path / "agents.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    path.chmod(0o644)
    declared = read(path)
    assert not declared.broken
    assert declared.by == "nixos-rebuild (revision 1a2b3c)"
    assert set(declared.agents) == {"alice", "bob"}
    settings = declared.agents[ALICE].settings
    assert settings is not None
    assert b'label = "Alice"' in settings
    assert b'"when" = "ping"' in settings
    assert declared.agents[AgentName("bob")].settings is None


def test_the_daemon_follows_that_file_and_gives_the_modules_to_every_agent(declaring: Any) -> None:
    given = dict(word.split("=", 1) for word in shlex.split(declaring["settings"]))
    config = config_from_environment(given)
    assert config.declared == "/etc/hive/agents.json"
    assert config.agent_modules.startswith("path:/")
    assert config.agent_modules.endswith("-hive-agent-modules")


def test_a_change_of_what_is_declared_restarts_no_daemon(declaring: Any) -> None:
    assert "agents.json" not in declaring["units"]["hive.service"]
    assert declaring["declared"] not in declaring["units"]["hive.service"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("{ ... }:\n{\n  a = ;\n}\n", "wrong.nix:3:7"), ("3\n", "")],
)
def test_a_file_that_is_no_module_is_refused_by_the_evaluation(
    nix: Evaluator, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "wrong.nix").write_text(text, encoding="utf-8")
    words_of = ("nix-instantiate", "--eval", "--strict", "--json", "-A", "given", HERE / "host.nix")
    arguments = ("--argstr", "hyperhive", "path:/hive", "--argstr", "module", tmp_path / "wrong.nix")
    if words:
        with pytest.raises(NixFailed, match=words):
            nix.run(*words_of, *arguments)
    else:
        (message,) = json.loads(nix.run(*words_of, *arguments))
        assert "wrong.nix" in message
        assert "no NixOS module" in message


def built_modules(nix: Evaluator, *modules: Path) -> Path:
    """The folder of services.hive.agentModules, built for real."""
    file, listed = nix.folder / "folder.nix", " ".join(map(str, modules))
    text = _FOLDER.replace("@here@", str(HERE)).replace("@modules@", listed)
    text = text.replace("@module@", str(ROOT / "nix/modules/host/agent-modules.nix"))
    file.write_text(text, encoding="utf-8")
    return Path(nix.run("nix-build", "--no-out-link", file).strip())


def test_the_folder_of_agent_modules_has_each_file_and_folder_and_imports_them_in_order(
    nix: Evaluator, tmp_path: Path
) -> None:
    (tmp_path / "one.nix").write_text("1", encoding="ascii")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "default.nix").write_text("import ./beside.nix", encoding="ascii")
    (tmp_path / "two" / "beside.nix").write_text("2", encoding="ascii")
    folder = built_modules(nix, tmp_path / "one.nix", tmp_path / "two")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "default.nix"]
    read = nix.run("nix-instantiate", "--eval", "--json", "--strict", "-E", f"map import (import {folder}).imports")
    assert json.loads(read) == [1, 2]
    assert built_modules(nix, tmp_path / "one.nix") != folder
