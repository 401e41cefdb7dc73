"""How claude is started, from the settings of an agent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.prompts.permissions import claude_settings
from harness.runtimes.base import Access, Enclosure, McpEndpoint, RuntimeSpec
from harness.runtimes.claude.arguments import Launch, launch
from meta.agent_toml.settings import AgentSettings
from meta.names import AgentName

FILES = Path("/run/claude")


def spec(settings: dict[str, Any] | None = None, env: dict[str, str] | None = None, prompt: str = "") -> RuntimeSpec:
    table = {"runtime": "claude", **(settings or {})}
    endpoint = McpEndpoint("http://127.0.0.1:9/mcp", "secret-token")
    enclosure = Enclosure(
        Path("/home/a"), Path("/work"), FILES, env or {}, endpoint, lambda: Access(root="http://127.0.0.1:8")
    )
    return RuntimeSpec(AgentName("alice"), False, AgentSettings.model_validate(table), enclosure, prompt)


def start(of: RuntimeSpec, *, resume: bool = False, without: str = "") -> Launch:
    return launch(of, "haiku", "the-session", resume=resume, servers=of.settings.mcp_servers, without=[without])


def value(how: Launch, option: str) -> str | None:
    return how.argv[how.argv.index(option) + 1] if option in how.argv else None


def file(how: Launch, name: str) -> Any:
    return json.loads(how.files[f"claude-{name}.json"])


def test_a_conversation_is_begun_by_its_name_and_continued_by_it() -> None:
    assert value(start(spec()), "--session-id") == "the-session"
    later = start(spec(), resume=True)
    assert (value(later, "--resume"), value(later, "--session-id")) == ("the-session", None)


def test_its_settings_are_those_of_the_prompts_with_the_permissions_of_agent_toml() -> None:
    of = spec({"permissions": {"allow": ["Read"], "deny": ["Bash(rm *)"]}})
    how = start(of)
    assert value(how, "--settings") == str(FILES / "claude-settings.json")
    assert file(how, "settings") == claude_settings(of.settings)
    assert how.env["IS_SANDBOX"] == "1"


def test_agent_toml_cannot_switch_work_in_the_background_on() -> None:
    how = start(spec({"env": {"CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "0", "CLAUDE_CODE_MAX_RETRIES": "9"}}))
    assert how.env["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"] == "1"
    assert how.env["CLAUDE_CODE_MAX_RETRIES"] == "9"


def test_it_reads_no_settings_and_no_servers_of_the_work_tree() -> None:
    how = start(spec())
    assert value(how, "--setting-sources") == ""
    assert "--strict-mcp-config" in how.argv


def test_hives_tools_are_loaded_at_once_and_may_take_a_day() -> None:
    assert file(start(spec()), "mcp")["mcpServers"]["hive"] == {
        "type": "http",
        "url": "http://127.0.0.1:9/mcp",
        "headers": {"Authorization": "Bearer secret-token"},
        "alwaysLoad": True,
        "timeout": 86_400_000,
    }


def test_the_tools_for_sub_agents_are_a_second_server_or_the_only_one() -> None:
    of = spec()
    both = McpEndpoint("http://127.0.0.1:9/mcp", "t0k", pods="http://127.0.0.1:9/pods")
    for endpoint, names in ((both, ["hive", "pods"]), (replace(both, url=""), ["pods"])):
        servers = file(start(replace(of, enclosure=replace(of.enclosure, mcp=endpoint))), "mcp")["mcpServers"]
        assert list(servers) == names
        assert servers["pods"]["url"] == "http://127.0.0.1:9/pods"
        assert servers["pods"]["headers"] == {"Authorization": "Bearer t0k"}


def test_the_token_is_in_a_file_and_neither_on_the_command_line_nor_in_the_environment() -> None:
    how = start(spec())
    assert "secret-token" not in " ".join([*how.argv, *how.env.values()])


def test_servers_of_agent_toml_are_added() -> None:
    servers = {
        "files": {"command": ["npx", "files", "/work"], "env": {"A": "1"}},
        "web": {"url": "http://127.0.0.1:7/mcp", "headers": {"Accept": "k"}},
    }
    found = file(start(spec({"mcp_servers": servers})), "mcp")["mcpServers"]
    assert found["files"] == {"type": "stdio", "command": "npx", "args": ["files", "/work"], "env": {"A": "1"}}
    assert found["web"] == {"type": "http", "url": "http://127.0.0.1:7/mcp", "headers": {"Accept": "k"}}


def test_a_changed_prompt_counts_in_a_conversation_that_is_continued() -> None:
    how = start(spec(prompt="You are alice."), resume=True)
    assert value(how, "--append-system-prompt-file") == str(FILES / "claude-prompt.md")
    assert value(how, "--system-prompt-snapshot") == "off"
    assert how.files["claude-prompt.md"] == "You are alice."


@pytest.mark.parametrize("where", ["agent.toml", "environment"])
def test_retries_are_bounded_and_the_agent_may_set_their_number(where: str) -> None:
    assert start(spec()).env["CLAUDE_CODE_MAX_RETRIES"] == "4"
    own = {"CLAUDE_CODE_MAX_RETRIES": "9"}
    of = spec({"env": own}) if where == "agent.toml" else spec(env=own)
    assert start(of).env["CLAUDE_CODE_MAX_RETRIES"] == "9"


def test_home_and_the_way_to_the_model_are_those_of_the_enclosure() -> None:
    env = start(spec(env={"HOME": "/elsewhere", "ANTHROPIC_BASE_URL": "http://elsewhere"})).env
    assert (env["HOME"], env["ANTHROPIC_BASE_URL"]) == ("/home/a", "http://127.0.0.1:8")


def test_the_command_and_the_rounds_of_agent_toml_are_used() -> None:
    how = start(spec({"command": ["/opt/claude", "--flag"], "limits": {"max_turns": 7}}))
    assert how.argv[:3] == ("/opt/claude", "--flag", "-p")
    assert value(how, "--max-turns") == "7"


def test_an_option_that_the_cli_does_not_know_is_left_out_with_its_value() -> None:
    whole, less = start(spec()), start(spec(), without="--input-format")
    assert set(whole.argv) - set(less.argv) == {"--input-format"}
    assert len(whole.argv) == len(less.argv) + 2
