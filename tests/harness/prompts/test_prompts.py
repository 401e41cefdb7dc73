"""What a coding agent is told: every tool of its role, every event, no other, and nothing that is left open."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest

from api.mcp.tools import tools_for
from api.operations.base import Role
from harness.prompts import render
from harness.prompts.check import command
from harness.prompts.permissions import claude_settings, is_permitted
from harness.prompts.render import Places, render_prompt
from meta.agent_toml.guide import KEYS
from meta.agent_toml.settings import AgentSettings, Budget, Permissions, TurnLimits, parse_settings
from meta.errors import BadInput
from meta.names import MANAGER, AgentName
from meta.wire.events import HelperEvent

ALICE = AgentName("alice")
TOOL = re.compile(r"`(\w+)\(([\w, ]*)\)`")
ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs/reference/agent-toml.md").read_text(encoding="utf-8")


def prompt(role: Role, settings: AgentSettings | None = None) -> str:
    manager = role is Role.MANAGER
    return render_prompt(MANAGER if manager else ALICE, settings or AgentSettings(), manager=manager)


@pytest.mark.parametrize("role", [Role.AGENT, Role.MANAGER])
def test_the_prompt_names_every_tool_of_the_role_and_no_other(role: Role) -> None:
    assert {name for name, _ in TOOL.findall(prompt(role))} == set(tools_for(role))


@pytest.mark.parametrize("role", [Role.AGENT, Role.MANAGER])
def test_every_argument_of_a_tool_is_named_and_no_other(role: Role) -> None:
    named: dict[str, set[str]] = {}
    for name, arguments in TOOL.findall(prompt(role)):
        named.setdefault(name, set()).update(filter(None, arguments.split(", ")))
    assert named == {name: set(tool.arguments.fields) for name, tool in tools_for(role).items()}


def test_the_managers_prompt_has_a_row_for_every_event_of_hive() -> None:
    kinds = {kind.model_fields["event"].default for kind in get_args(get_args(HelperEvent)[0])}
    rows = re.findall(r"^\| `(\w+)` \| ", prompt(Role.MANAGER).partition("| `event` |")[2], re.MULTILINE)
    assert sorted(rows) == sorted(kinds)


def test_an_agents_prompt_names_the_events_that_it_gets() -> None:
    assert {"`question_asked`", "`question_answered`", "`message_dead`"} <= set(
        re.findall(r"`\w+`", prompt(Role.AGENT))
    )


def test_the_rules_that_every_agent_needs_are_there() -> None:
    text = " ".join(prompt(Role.AGENT).split())
    for words in (
        "reaches nobody",
        "redelivered",
        "/state/notes.md",
        "not an order",
        "end the turn",
        "`operator:unverified`",
        "what your container lacks",
    ):
        assert words.lower() in text.lower()


def test_the_prompt_says_who_the_agent_is_and_then_what_its_configuration_adds() -> None:
    settings = parse_settings(
        b'label = "Al {role}"\ndescription = "tests\\nthings"\nrecipients = ["bob"]\n'
        b'prompt = "As {self}: {{x}} {label}"\n'
    )
    text = render_prompt(ALICE, settings, manager=False, places=Places(state=Path("/elsewhere")))
    assert "You are alice," in text
    assert "Your label: Al {role}\ntests things\n" in text
    assert "`bob`. The manager can always be reached" in text
    assert "/elsewhere/notes.md" in text
    assert text.endswith("# From your configuration\nAs alice: {x} Al {role}\n")
    assert "You are the manager" not in text


@pytest.mark.parametrize("name", [render.AGENT, render.MANAGER])
def test_a_placeholder_that_is_unknown_is_an_error_with_its_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = render._read
    monkeypatch.setattr(render, "_read", lambda file: read(file) + ("{whom}" if file == name else ""))
    with pytest.raises(BadInput) as caught:
        prompt(Role.MANAGER)
    assert caught.value.summary.startswith(f"{name}: {{whom}} is not a placeholder ({{self}}, ")


def test_the_manager_knows_every_key_of_agent_toml_and_how_to_check_a_proposal() -> None:
    text = prompt(Role.MANAGER)
    assert KEYS in text
    assert all(re.search(rf"\b{key}\b", KEYS) for key in AgentSettings.model_fields)
    assert all(
        re.search(rf"\b{key}\b", KEYS) for table in (Budget, TurnLimits, Permissions) for key in table.model_fields
    )
    assert f"{command()} /agents/NAME/config" in text
    assert KEYS not in prompt(Role.AGENT)


def test_an_agent_knows_its_folder_its_limits_and_its_budget() -> None:
    text = " ".join(prompt(Role.AGENT, parse_settings(b"budget = { turns = 2_000, dollars = 1.5 }")).split())
    assert "You start in /state/work" in text
    assert "ended after 60 minutes" in text
    assert "a single call of a tool takes 30 minutes, even if the tool prints all the time" in text
    assert "Your budget is 2,000 turns and 1.5 dollars a day" in text
    assert "No budget limits you." in prompt(Role.AGENT)
    assert "If they are missing, you can answer nobody." in text


def test_a_prompt_has_a_bounded_length() -> None:
    assert len(prompt(Role.AGENT)) < 8_000
    assert len(prompt(Role.MANAGER)) < 16_000


def test_the_files_come_with_the_package() -> None:
    names = {entry.name for entry in resources.files("harness.prompts").iterdir()}
    assert {"agent.md", "manager.md", "claude-settings.json"} <= names


def test_claude_may_use_all_tools_but_those_that_are_denied() -> None:
    permissions = claude_settings(parse_settings(b'permissions.deny = ["WebFetch"]'))["permissions"]
    assert (permissions["defaultMode"], permissions["allow"]) == ("bypassPermissions", [])
    assert {"WebFetch", "SendMessage", "ScheduleWakeup", "AskUserQuestion"} <= set(permissions["deny"])


def test_with_a_list_claude_may_use_what_is_on_it_and_hives_tools() -> None:
    permissions = claude_settings(parse_settings(b'permissions.allow = ["Read"]'))["permissions"]
    assert (permissions["defaultMode"], permissions["allow"]) == ("dontAsk", ["Read", "mcp__hive", "mcp__pods"])


def test_every_setting_of_claude_is_documented_with_its_reason() -> None:
    settings = claude_settings(AgentSettings())
    for name in (*settings, *settings["permissions"]["deny"]):
        assert f"`{name}`" in REFERENCE or name == "permissions"


@pytest.mark.parametrize(
    ("allow", "deny", "names", "permitted"),
    [
        ([], [], ("bash", "execute"), True),
        ([], ["Execute"], ("bash", "execute"), False),
        (["read"], [], ("cat", "read"), True),
        (["read"], [], ("rm", "execute"), False),
        (["*"], ["rm *"], ("rm -r x", "execute"), False),
        (["read"], [], ("",), False),
    ],
)
def test_what_a_cli_asks_for_is_judged_by_the_rules(
    allow: list[str], deny: list[str], names: tuple[str, ...], permitted: bool
) -> None:
    assert is_permitted(Permissions(allow=allow, deny=deny), *names) is permitted
