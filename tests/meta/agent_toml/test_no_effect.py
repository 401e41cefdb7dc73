"""Settings that a runtime does not obey are named before they are approved."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from meta.agent_toml.no_effect import _KEYS, describe_no_effect
from meta.agent_toml.obeyed import Obeyed, obeyed
from meta.agent_toml.runtimes import RUNTIMES, WITH_COMMAND
from meta.agent_toml.settings import flatten, parse_settings

ALL = (
    'permissions = { allow = ["read"], deny = ["execute"] }\nlimits.max_turns = 5\nbudget = { tokens = 9, dollars = 2 }'
)


def lines(text: str) -> list[str]:
    return describe_no_effect(flatten(parse_settings(text.encode())))


def test_a_runtime_that_obeys_all_has_no_line() -> None:
    assert lines(f'runtime = "claude"\n{ALL}') == []


def test_what_a_runtime_does_not_obey_is_named_with_the_reason() -> None:
    assert lines(f'runtime = "codex"\n{ALL}') == [
        "NO EFFECT: permissions.allow, permissions.deny: runtime codex: it does not ask before it uses a tool",
        "NO EFFECT: limits.max_turns: runtime codex: it does not count rounds",
        "NO EFFECT: budget.dollars: runtime codex: it reports none",
    ]


def test_without_a_model_all_that_is_about_one_does_nothing() -> None:
    more = 'model = "x"\nprompt = "be kind"\nlimits.tool_seconds = 5\nenv.A = "b"\nmcp_servers.own.command = ["own"]'
    assert lines(f'runtime = "script"\n{ALL}\n{more}') == [
        "NO EFFECT: permissions.allow, permissions.deny, model, prompt, limits.max_turns, budget.tokens, "
        "budget.dollars, limits.tool_seconds, env, mcp_servers: runtime script: it has neither a model nor tools"
    ]


def test_what_the_script_runtime_obeys_is_not_named() -> None:
    assert lines('limits = { turn_seconds = 9, silence_seconds = 9 }\nbudget.turns = 3\n[[script]]\nwhen = "x"') == []


def test_rules_that_stayed_after_a_change_of_the_runtime_are_named() -> None:
    rules = '[[script]]\nwhen = "a"\n[[script]]\nwhen = "b"'
    assert lines(f'runtime = "claude"\n{rules}') == [
        "NO EFFECT: [[script]]: runtime claude: only runtime script has rules"
    ]


def test_what_hive_does_not_know_of_an_agent_is_not_claimed() -> None:
    assert lines(f'runtime = "acp"\ncommand = ["agent"]\n{ALL}') == [
        "UNKNOWN EFFECT: permissions.allow, permissions.deny: runtime acp: its agent may not ask before it uses a tool",
        "NO EFFECT: limits.max_turns: runtime acp: it does not count rounds",
        "UNKNOWN EFFECT: budget.dollars: runtime acp: its agent may report none",
    ]


@pytest.mark.parametrize("runtime", ["script", "codex", "gemini", "opencode", "claude-acp"])
def test_what_is_not_set_is_not_named(runtime: str) -> None:
    assert lines(f'runtime = "{runtime}"\npermissions.deny = []') == []


def test_a_budget_in_tokens_that_counts_too_little_is_named() -> None:
    assert lines(f'runtime = "opencode"\n{ALL}')[-1].startswith("TOO LITTLE IS COUNTED: budget.tokens: opencode")


def test_an_agent_toml_that_is_not_valid_has_no_line() -> None:
    assert describe_no_effect({"agent.toml": "(it is not TOML)"}) == []


def test_the_page_says_what_each_runtime_obeys() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/agent-toml.md").read_text()
    table = page.partition("## Settings without effect")[2].partition("\n## ")[0]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    assert cells[0][1:] == list(_KEYS.values())
    said = {row[0]: [cell == "yes" for cell in row[1:]] for row in cells[2:]}
    assert said == {name: list(asdict(obeyed(name)).values()) for name in RUNTIMES}
    assert {row[0] for row in cells if "?" in row} == WITH_COMMAND


def test_each_setting_that_a_runtime_may_not_obey_has_its_key() -> None:
    assert asdict(Obeyed(True, True, True, True)).keys() == _KEYS.keys()


def test_a_word_that_the_runtime_cannot_be_held_to_is_named() -> None:
    rules = 'permissions = { allow = ["read"], deny = ["Bash(git *)", "execute", "nothing"] }'
    assert lines(f'runtime = "gemini"\n{rules}') == [
        "NO EFFECT: permissions.deny: runtime gemini has no such tool, or no such pattern for one: "
        "`Bash(git *)`, `nothing`"
    ]


def test_a_tool_of_an_mcp_server_in_agent_toml_is_known() -> None:
    server = 'mcp_servers.wiki.url = "https://wiki.example/mcp"'
    assert lines(f'runtime = "opencode"\npermissions.deny = ["wiki_search"]\n{server}') == []


@pytest.mark.parametrize(("runtime", "has_line"), [("script", True), ("opencode", True), ("claude", False)])
def test_defaults_that_are_off_do_nothing_with_a_runtime_that_has_no_hosts(runtime: str, has_line: bool) -> None:
    found = lines(f'runtime = "{runtime}"\nnetwork.defaults = false')
    assert (found == [f"NO EFFECT: network.defaults: runtime {runtime}: it has no hosts of its own"]) is has_line
