"""The meta flake with hive's own templates: a new agent's first commit becomes a system of the stub's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.agent_toml import seed
from meta.agent_toml.settings import parse_settings
from meta.desired.flake import identity, render
from meta.model import AgentEntry, ContainerSettings, Desired, Pin, Role
from meta.names import MANAGER, AgentName, ProposalId, Sha
from tests.nix.evaluate import STUB, Evaluator, copy_of_the_repository

ALICE = AgentName("alice")
ROLES = {ALICE: Role.AGENT, MANAGER: Role.MANAGER}
ENTRIES: dict[AgentName, AgentEntry] = {}
"""What `built` was rendered from."""


@pytest.fixture(scope="module")
def built(nix: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> dict[AgentName, dict[str, object]]:
    """What the built system of each agent says about itself."""
    folder = tmp_path_factory.mktemp("meta-flake")
    hive = copy_of_the_repository(folder / "hive")
    for number, (name, role) in enumerate(ROLES.items()):
        repo = folder / name
        commit = _repository(nix, repo, seed.files(name, role), f"refs/tags/proposal/{number}")
        ENTRIES[name] = AgentEntry(Pin(ProposalId(number), commit), ContainerSettings(role, 65_536 * (8 + number)))
    meta = folder / "meta"
    meta.mkdir()
    desired = Desired(Sha("0" * 40), ENTRIES)
    text = render(desired, lambda name: folder / name / ".git", f"path:{STUB}", f"path:{hive}")
    (meta / "flake.nix").write_text(text.decode(), encoding="utf-8")
    nix.run("nix", "flake", "lock", f"path:{meta}")
    found = {}
    for name in ROLES:
        attribute = f'path:{meta}#nixosConfigurations."{name}".config.system.build.toplevel'
        nix.run("nix", "build", "--out-link", folder / f"system-{name}", attribute)
        found[name] = json.loads((folder / f"system-{name}" / "system.json").read_text(encoding="utf-8"))
    return found


def _repository(nix: Evaluator, path: Path, files: dict[str, bytes], ref: str) -> Sha:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    identity = ("-c", "user.name=hive", "-c", "user.email=hive@localhost")
    nix.run("git", "-C", path, "init", "-q")
    nix.run("git", "-C", path, "add", "-A")
    nix.run("git", "-C", path, *identity, "commit", "-q", "-m", "seed")
    nix.run("git", "-C", path, "update-ref", ref, "HEAD")
    return Sha(nix.run("git", "-C", path, "rev-parse", "HEAD").strip())


def test_a_new_agents_first_commit_becomes_a_system(built: dict[AgentName, dict[str, object]]) -> None:
    assert built[ALICE]["host"] == "alice"
    units = built[ALICE]["units"]
    assert isinstance(units, dict)
    assert 'Environment="HIVE_ROLE=agent"' in units["hive-harness.service"]


@pytest.mark.parametrize("name", list(ROLES))
def test_the_harness_is_told_its_label_and_its_own_port_alone(
    built: dict[AgentName, dict[str, object]], name: AgentName
) -> None:
    units = built[name]["units"]
    assert isinstance(units, dict)
    told = units["hive-harness.service"].splitlines()
    for key, value in identity(name, ENTRIES[name]).items():
        assert f'Environment="{key}={value}"' in told
    assert not [line for line in told if "DASHBOARD" in line]
    assert len({line for line in told if line.startswith('Environment="HIVE_PORT=')}) == 1


def test_the_manager_gets_the_managers_template(built: dict[AgentName, dict[str, object]]) -> None:
    units = built[MANAGER]["units"]
    assert isinstance(units, dict)
    assert 'Environment="HIVE_ROLE=manager"' in units["hive-harness.service"]


@pytest.mark.parametrize("name", list(ROLES))
def test_its_harness_finds_its_settings_there(built: dict[AgentName, dict[str, object]], name: AgentName) -> None:
    etc = built[name]["etc"]
    assert isinstance(etc, dict)
    assert parse_settings(etc["hive/agent.toml"].encode()) == parse_settings(
        seed.files(name, ROLES[name])["agent.toml"]
    )
