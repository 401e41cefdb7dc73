"""The first commit of a new agent's repo."""

from __future__ import annotations

import re

import pytest

from meta.agent_toml.runtimes import SEEDED, RuntimeName
from meta.agent_toml.script import Commit, Reply, Request, compile_pattern
from meta.agent_toml.seed import Start, files
from meta.agent_toml.settings import AgentSettings, parse_settings
from meta.config import Config
from meta.errors import BadInput
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


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("runtime", ["claude", "codex", "claude-acp"])
def test_a_coding_agent_begins_with_its_runtime_and_comments_for_the_rest(role: Role, runtime: RuntimeName) -> None:
    text = files(AgentName("web-2"), role, Start(runtime))["agent.toml"]
    settings = parse_settings(text)
    assert (settings.runtime, settings.model, settings.label, settings.script) == (runtime, None, "web-2", [])
    assert b"@" not in text
    assert {b"# [permissions]", b"# [budget]", b"# prompt = '''"} <= set(text.split(b"\n"))
    assert files(AgentName("web-2"), role, Start(runtime)).keys() == files(AgentName("web-2"), role).keys()


def test_a_model_is_seeded_as_it_was_given() -> None:
    text = files(AgentName("web-2"), Role.AGENT, Start("opencode", "a/b[1m]"))["agent.toml"]
    assert parse_settings(text).model == "a/b[1m]"


def test_the_comments_of_a_coding_agent_are_settings_once_their_mark_is_removed() -> None:
    text = files(AgentName("a"), Role.AGENT, Start("claude"))["agent.toml"].decode()
    prose = ("# What ", "# Added", "# Whom", "# The ", "# All", "# Repos")
    lines = [line for line in text.split("\n") if not line.startswith(prose)]
    settings = parse_settings(re.sub(r"^# ", "", "\n".join(lines), flags=re.MULTILINE).encode())
    assert (settings.permissions.deny, settings.budget.turns, settings.recipients) == (["WebFetch"], 200, ["operator"])
    assert settings.network.allow and settings.workspace[0].path == "tools"
    assert settings.prompt == "You review what the other agents commit.\n"


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (Start("acp"), "runtime 'acp' has no CLI of its own"),
        (Start("script", "opus"), "runtime 'script' has no model"),
        (Start("claude", "-x"), "model: '-x' is not the name of a model"),
    ],
)
def test_a_start_that_would_not_work_is_refused(start: Start, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        files(AgentName("a"), Role.AGENT, start)
    assert caught.value.summary.startswith(words)
    assert caught.value.hint


@pytest.mark.parametrize("key", ["default_runtime", "manager_runtime"])
def test_the_settings_of_the_daemon_know_every_runtime_that_an_agent_can_begin_with(key: str) -> None:
    assert Config.model_fields[key].examples == list(SEEDED)
    for runtime in SEEDED:
        assert getattr(Config.model_validate({key: runtime}), key) == runtime
