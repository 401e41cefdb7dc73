"""What the runtime asks of an agent: sessions, tools, prompts, permissions, models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest

from harness.environment import read_environment
from harness.runtimes.acp.adapter import AcpRuntime
from harness.runtimes.acp.session import seconds_until_load, servers
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import Ending, McpEndpoint
from harness.runtimes.registry import make_runtime
from meta.agent_toml.runtimes import RUNTIMES, WITH_COMMAND

if TYPE_CHECKING:
    from harness.runtimes.base import Tools
    from tests.harness.runtimes.acp.conftest import Stage

HTTP = {"mcpCapabilities": {"http": True}}


async def test_the_system_prompt_stands_before_the_first_prompt_of_a_conversation_only(stage: Stage) -> None:
    runtime = stage.runtime("acp", "good", prompt="You are alice.")
    first = await stage.turn(runtime)
    await stage.turn(runtime, session=first.session)
    assert stage.seen.texts == ["2 parts", "1 parts"]


async def test_what_a_model_must_know_of_hives_tools_stands_after_the_prompt(stage: Stage) -> None:
    prompts = [stage.runtime(name, "good", prompt="You are alice.")._spec.prompt for name in ("acp", "codex")]
    assert prompts[0] == "You are alice."
    assert prompts[1].startswith("You are alice.\n\n")
    assert "tools.mcp__hive__send(" in prompts[1]
    assert "mcp__pods__" not in prompts[1]
    mcp = McpEndpoint("http://127.0.0.1:1/mcp", "t0k", pods="http://127.0.0.1:1/pods")
    assert "mcp__pods__" in stage.runtime("codex", "good", prompt="You are alice.", mcp=mcp)._spec.prompt


async def test_a_new_conversation_begins_in_the_same_process(stage: Stage) -> None:
    runtime = stage.runtime("acp", "good", prompt="You are alice.")
    await stage.turn(runtime)
    before = runtime._process
    await stage.turn(runtime, session=None)
    assert stage.seen.texts == ["2 parts", "2 parts"]
    assert runtime._process is before


async def test_another_model_starts_another_process_and_continues_the_conversation(stage: Stage) -> None:
    runtime = stage.runtime("gemini", "good")
    first = await stage.turn(runtime, model="small")
    before = runtime._process
    assert first.session is not None
    second = await stage.turn(runtime, session=first.session.partition("@")[0], model="large")
    assert (second.ending, runtime._process is before) == (Ending.OK, False)


async def test_what_the_agent_asks_is_allowed_once_by_the_kind_of_the_option(stage: Stage) -> None:
    await stage.turn(stage.runtime("acp", "asks"))
    assert json.loads(stage.seen.texts[0]) == {"outcome": {"outcome": "selected", "optionId": "ALLOW_ONCE"}}
    assert stage.seen.tools == ["execute"]


async def test_a_rule_of_deny_refuses_what_the_agent_asks(stage: Stage) -> None:
    await stage.turn(stage.runtime("acp", "asks", permissions={"deny": ["rm *"]}))
    assert json.loads(stage.seen.texts[0]) == {"outcome": {"outcome": "selected", "optionId": "REJECT_ONCE"}}
    assert stage.seen.notes[0] == "permissions.deny: acp is not held to it, only refused what it asks about"


async def test_rules_that_an_agent_cannot_be_held_to_are_noted_once(stage: Stage) -> None:
    runtime = stage.runtime("acp", "good", permissions={"allow": ["Read"]})
    await stage.turn(runtime)
    await stage.turn(runtime)
    assert stage.seen.notes == ["permissions.allow: acp is not held to it, only refused what it asks about"]


async def test_a_model_is_chosen_in_the_session_if_the_agent_offers_that(stage: Stage) -> None:
    assert (await stage.turn(stage.runtime("acp", "models"), model="small")).ending is Ending.OK


@pytest.mark.parametrize("mode", ["models", "good"])
async def test_a_model_that_cannot_be_chosen_parks_the_message(stage: Stage, mode: str) -> None:
    outcome = await stage.turn(stage.runtime("acp", mode), model="huge")
    assert (outcome.ending, "huge" in outcome.reason) == (Ending.PARKED, True)


async def test_an_agent_that_would_use_a_hosted_model_of_its_maker_needs_one_named(stage: Stage) -> None:
    outcome = await stage.turn(stage.runtime("opencode", "good"))
    assert (outcome.ending, "set `model`" in outcome.reason) == (Ending.PARKED, True)


def test_the_servers_are_those_of_hive_and_of_the_file(stage: Stage) -> None:
    web_ = {"url": "https://w/mcp", "headers": {"K": "v"}}
    more = {"files": {"command": ["srv", "-x"], "env": {"A": "b"}}, "web": web_}
    spec = stage.spec("codex", mcp=McpEndpoint("http://127.0.0.1:1/mcp", "t0k"), mcp_servers=more)
    hive, files, web = servers(spec, HTTP, stage.seen)
    assert hive["headers"] == [{"name": "Authorization", "value": "Bearer t0k"}]
    assert files == {"name": "files", "command": "srv", "args": ["-x"], "env": [{"name": "A", "value": "b"}]}
    assert web == {"type": "http", "name": "web", "url": "https://w/mcp", "headers": [{"name": "K", "value": "v"}]}


def test_the_tools_for_sub_agents_are_a_second_server_or_the_only_one(stage: Stage) -> None:
    for url, names in (("http://127.0.0.1:1/mcp", ["hive", "pods"]), ("", ["pods"])):
        spec = stage.spec("codex", mcp=McpEndpoint(url, "t0k", pods="http://127.0.0.1:1/pods"))
        found = servers(spec, HTTP, stage.seen)
        assert [each["name"] for each in found] == names
        assert found[-1]["url"] == "http://127.0.0.1:1/pods"
        assert found[-1]["headers"] == [{"name": "Authorization", "value": "Bearer t0k"}]


def test_a_server_that_the_agent_cannot_use_is_noted(stage: Stage) -> None:
    spec = stage.spec("codex", mcp=McpEndpoint("http://127.0.0.1:1/mcp", "t0k"))
    assert servers(spec, {}, stage.seen) == []
    assert stage.seen.notes == ["the agent cannot use MCP servers over http: hive is missing"]


@pytest.mark.parametrize(
    ("session", "now", "seconds"),
    [("id@120", 130.0, 50.5), ("id@120", 180.0, 0.0), ("id@119", 120.0, 0.0), ("id", 5.0, 0.0), ("a@b", 5.0, 0.0)],
)
def test_a_conversation_is_loaded_in_a_later_minute_than_it_was_made(session: str, now: float, seconds: float) -> None:
    assert seconds_until_load(session, now) == seconds


@pytest.mark.parametrize("name", PRESETS)
def test_the_registry_makes_the_runtime_of_each_preset(stage: Stage, name: str) -> None:
    environment = read_environment({"HIVE_AGENT": "alice"})
    command = ["x"] if name in WITH_COMMAND else None
    runtime = make_runtime(stage.spec(name, command=command), environment, cast("Tools", None))
    assert (type(runtime), runtime.name) == (AcpRuntime, name)


def test_each_runtime_of_agent_toml_but_script_and_claude_is_a_preset() -> None:
    assert PRESETS.keys() == RUNTIMES - {"script", "claude"}
