"""The variables that the backend sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environment import place_from_environment
from meta.errors import BadInput


def test_the_directories_have_their_places_in_the_container() -> None:
    place = place_from_environment({"HIVE_AGENT": "manager", "HIVE_ROLE": "manager", "HIVE_GENERATION": "g"})
    assert place.manager
    assert (place.agent, place.generation, place.nonce) == ("manager", "g", "")
    assert (place.config, place.state, place.agents) == (Path("/config"), Path("/state"), Path("/agents"))
    assert (place.link, place.broker) == (Path("/run/hive/harness.sock"), Path("/run/hive/mcp.sock"))


def test_every_directory_can_be_set() -> None:
    names = {f"HIVE_{name}": f"/x/{name}" for name in ("CONFIG", "RUN", "STATE", "AGENTS")}
    place = place_from_environment({"HIVE_AGENT": "alice", **names})
    assert [place.config, place.run, place.state, place.agents] == [Path(path) for path in names.values()]
    assert not place.manager


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
        place_from_environment(environment)
