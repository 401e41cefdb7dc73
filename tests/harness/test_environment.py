"""The variables that the backend sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environment import read_environment
from meta.errors import BadInput


def test_the_directories_have_their_places_in_the_container() -> None:
    inside = read_environment({"HIVE_AGENT": "manager", "HIVE_ROLE": "manager", "HIVE_GENERATION": "g"})
    assert inside.manager
    assert (inside.agent, inside.generation, inside.nonce) == ("manager", "g", "")
    assert (inside.config, inside.state, inside.agents) == (
        Path("/config"),
        Path("/state"),
        Path("/agents"),
    )
    assert inside.pods == Path("/run/pods")
    assert (inside.link, inside.broker) == (Path("/run/hive/harness.sock"), Path("/run/hive/mcp.sock"))


def test_what_the_harness_keeps_is_in_the_state_or_in_a_folder_of_its_own() -> None:
    alike = read_environment({"HIVE_AGENT": "alice"})
    apart = read_environment({"HIVE_AGENT": "alice", "HIVE_OWN": "/state/.hive", "HIVE_CLI_FILES": "/run/x"})
    assert (alike.kept, alike.events.parent, alike.cli_files) == (Path("/state"), Path("/state"), None)
    own = Path("/state/.hive")
    assert (apart.kept, apart.events.parent, apart.state, apart.cli_files) == (own, own, Path("/state"), Path("/run/x"))


def test_every_directory_can_be_set() -> None:
    names = {f"HIVE_{name}": f"/x/{name}" for name in ("CONFIG", "RUN", "PODS", "STATE", "AGENTS")}
    inside = read_environment({"HIVE_AGENT": "alice", **names})
    assert [inside.config, inside.run, inside.pods, inside.state, inside.agents] == [
        Path(path) for path in names.values()
    ]
    assert not inside.manager


@pytest.mark.parametrize(
    ("environment", "summary"),
    [
        ({}, "HIVE_AGENT is not set"),
        ({"HIVE_AGENT": "Alice"}, "no agent name"),
        ({"HIVE_AGENT": "alice", "HIVE_ROLE": "root"}, "HIVE_ROLE='root' is neither"),
    ],
)
def test_a_variable_that_is_missing_or_wrong_is_named(environment: dict[str, str], summary: str) -> None:
    with pytest.raises(BadInput, match=summary):
        read_environment(environment)
