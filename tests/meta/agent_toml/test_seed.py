"""The first commit of a new agent's repo."""

from __future__ import annotations

import pytest

from meta.agent_toml.script import Commit, Reply, Request, compile_pattern
from meta.agent_toml.seed import files
from meta.agent_toml.settings import AgentSettings, parse_settings
from meta.model import Role
from meta.names import AgentName


def _settings(role: Role) -> AgentSettings:
    return parse_settings(files(AgentName("web-2"), role)["agent.toml"])


@pytest.mark.parametrize("role", Role)
def test_a_seed_is_three_files_with_the_name_filled_in(role: Role) -> None:
    seed = files(AgentName("web-2"), role)
    assert sorted(seed) == ["agent.nix", "agent.toml", "flake.nix"]
    assert not any(b"@" in content for content in seed.values())
    assert _settings(role).label == "web-2"
    assert b"nixosModules.default = ./agent.nix" in seed["flake.nix"]
    assert b"hive.agent.file = ./agent.toml" in seed["agent.nix"]


@pytest.mark.parametrize("role", Role)
def test_the_same_agent_is_always_seeded_alike(role: Role) -> None:
    assert files(AgentName("a"), role) == files(AgentName("a"), role)


def test_a_new_agent_answers_and_two_of_them_do_not_talk_for_ever() -> None:
    ping, heard = _settings(Role.AGENT).script
    assert (ping.when, ping.actions) == ("ping", (Reply("pong"),))
    assert (heard.sender, heard.actions) == ("operator", (Reply("heard: {body}"),))


def test_a_new_manager_edits_and_proposes_for_the_operator() -> None:
    _, edit, propose = _settings(Role.MANAGER).script
    match = compile_pattern(edit.when).fullmatch("edit alice notes/a.md\none\n\ntwo\n")
    assert match is not None
    assert match.groupdict() == {"agent": "alice", "file": "notes/a.md", "content": "one\n\ntwo"}
    assert [type(action) for action in edit.actions] == [Commit, Reply]
    match = compile_pattern(propose.when).fullmatch("propose alice to be faster")
    assert match is not None
    assert match.groupdict() == {"agent": "alice", "why": "to be faster"}
    assert compile_pattern(propose.when).fullmatch("propose alice")
    assert [type(action) for action in propose.actions] == [Request, Reply]
    assert {edit.sender, propose.sender} == {"operator"}
