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
from tests.nix.evaluate import HERE, Evaluator

ALICE = AgentName("alice")


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
