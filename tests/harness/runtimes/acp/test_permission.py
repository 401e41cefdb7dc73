"""What an agent may do that it asks about: hive's own tools always, and else what the rules permit."""

from __future__ import annotations

from typing import Any

import pytest

from harness.runtimes.acp.permission import decide
from harness.runtimes.acp.table import PRESETS
from meta.agent_toml.obeyed import obeyed
from meta.agent_toml.settings import Permissions

OPTIONS = [{"optionId": "no", "kind": "reject_once"}, {"optionId": "yes", "kind": "allow_once"}]
STRICT = Permissions(allow=["read"], deny=["execute"])


def allowed(name: str, call: dict[str, Any], rules: Permissions = STRICT) -> bool:
    decision = decide({"toolCall": call, "options": OPTIONS}, rules, PRESETS[name], cancelled=False)
    assert decision.answer["outcome"]["optionId"] == ("yes" if decision.allowed else "no")
    return decision.allowed


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (
            "codex",
            {"title": "mcp.hive.send", "kind": "execute", "rawInput": {"server": "hive", "tool": "send"}},
        ),
        ("gemini", {"toolCallId": "mcp_hive_send__fc-1", "title": "send (hive MCP Server)", "kind": "other"}),
        ("claude-acp", {"name": "mcp__hive__send", "title": "mcp__hive__send", "kind": "other"}),
        ("codex", {"title": "x", "kind": "execute", "rawInput": {"server": "pods", "tool": "list_pods"}}),
        ("gemini", {"toolCallId": "mcp_pods_list_pods__fc-1", "title": "x", "kind": "other"}),
        ("claude-acp", {"name": "mcp__pods__list_pods", "title": "x", "kind": "other"}),
    ],
)
def test_hives_own_tools_may_always_run(name: str, call: dict[str, Any]) -> None:
    assert allowed(name, call)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "call",
    [
        {"title": "mcp.hive.send", "kind": "execute", "rawInput": {"command": "mcp.hive.send"}},
        {"title": "hive/notes", "kind": "edit"},
        {"title": "mcp__hive__send", "kind": "execute", "toolCallId": "call_1"},
        {"title": "mcp__pods__stop_pod", "kind": "execute", "toolCallId": "call_1"},
        {"title": "x", "kind": "other", "rawInput": {"server": "web", "arguments": {"server": "hive"}}},
    ],
)
def test_a_title_makes_no_tool_one_of_hives(name: str, call: dict[str, Any]) -> None:
    assert not allowed(name, call)


def test_a_rule_names_a_tool_by_the_name_in_its_id() -> None:
    call = {"toolCallId": "run_shell_command__fc-1", "title": "ls", "kind": "execute"}
    assert allowed("gemini", call, Permissions(allow=["run_shell_command"]))
    assert not allowed("gemini", call, Permissions(allow=["read_file"]))


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_said_to_be_obeyed_has_a_way_to_the_agent(name: str) -> None:
    preset = PRESETS[name]
    assert obeyed(name).allow == (preset.allow is not None or preset.policy is not None)
    assert obeyed(name).deny == (preset.deny is not None or preset.policy is not None)


@pytest.mark.parametrize("name", PRESETS)
def test_a_title_lets_nothing_pass_but_can_be_denied(name: str) -> None:
    call = {"toolCallId": "run_shell_command__1", "kind": "execute", "title": "read_x; rm -rf ~"}
    assert not allowed(name, call, Permissions(allow=["read_*"]))
    assert not allowed(name, call, Permissions(allow=["execute"], deny=["*rm -rf*"]))
    assert allowed(name, call, Permissions(allow=["execute"]))
