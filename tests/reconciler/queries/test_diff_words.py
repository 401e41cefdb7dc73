"""The words of a diff: what the operator must see before an approval comes first."""

from __future__ import annotations

import pytest

from meta.agent_toml.settings import SETTINGS_FILE, flatten, parse_settings
from meta.names import AgentName
from meta.network.operator_file import OperatorFile, parse_operator_file
from meta.network.rule import parse_rule
from reconciler.queries.diffs import NetworkView, describe

FILE = parse_operator_file(b'[groups]\npython = ["pypi.org"]')


def flat(text: str) -> dict[str, str]:
    return flatten(parse_settings(text.encode()))


def words(before: str | None, after: str, ceiling: str | None = None, file: OperatorFile = FILE) -> list[str]:
    rules = None if ceiling is None else (parse_rule(ceiling),)
    here = NetworkView(AgentName("alice"), file, rules)
    return list(describe({} if before is None else flat(before), flat(after), here))


def kinds(texts: list[str]) -> list[str]:
    return [text.partition(": ")[0] for text in texts]


def test_more_rights_come_first_then_what_has_no_effect_then_the_rest() -> None:
    after = 'runtime = "codex"\nlabel = "x"\npermissions.deny = ["execute"]\nnetwork.defaults = false'
    texts = words('runtime = "claude"\nnetwork.defaults = false', after)
    assert kinds(texts) == ["MORE RIGHTS", "NO EFFECT", "label", "permissions.deny"]


def test_a_new_agent_is_shown_what_it_may_reach_and_what_has_no_effect() -> None:
    texts = words(None, 'runtime = "gemini"\nbudget.dollars = 2')
    assert texts[0] == 'runtime: "gemini"'
    assert texts[1].startswith("it may reach:\n  + runtime gemini: generativelanguage.googleapis.com (port 443)")
    assert texts[2].startswith("NO EFFECT: budget.dollars: runtime gemini")


def test_a_new_agent_without_a_host_is_said_to_reach_none() -> None:
    assert words(None, "")[:2] == ['runtime: "script"', "it may reach no host"]


def test_hosts_that_are_new_are_more_rights_and_those_that_go_come_last() -> None:
    assert words('network.allow = ["a.example"]', 'network.allow = ["@python", "*"]') == [
        "MORE RIGHTS: it may newly reach:\n"
        "  + @python: pypi.org (ports 80 and 443)\n"
        "  + every host on the internet (ports 80 and 443)",
        'network.allow: removed "a.example", added "@python", "*"',
    ]
    assert words('network.allow = ["a.example"]', "")[-1] == (
        "it may no longer reach:\n  - a.example (ports 80 and 443)"
    )


def test_another_runtime_shows_the_hosts_that_it_brings() -> None:
    texts = words("", 'runtime = "claude"')
    assert texts[:2] == [
        'MORE RIGHTS: runtime: "script" -> "claude"',
        "MORE RIGHTS: it may newly reach:\n"
        "  + runtime claude: api.anthropic.com (port 443), platform.claude.com (port 443), claude.ai (port 443)",
    ]


def test_hosts_of_the_runtime_beyond_the_ceiling_are_said_not_to_apply() -> None:
    texts = words("", 'runtime = "claude"', ceiling="api.anthropic.com")
    assert texts[1] == "MORE RIGHTS: it may newly reach:\n  + runtime claude: api.anthropic.com (port 443)"
    assert texts[2] == "runtime claude's own hosts beyond the operator's ceiling do not apply: " + (
        "platform.claude.com, claude.ai"
    )


WORKSPACE = '[[workspace]]\nurl = "https://git.example.org/tools"\n'
KEY = b'[credentials.forge]\nkind = "git"\nfile = "/k"\nupstream = "https://git.example.org"\nagents = ["alice"]'


@pytest.mark.parametrize(
    ("more", "file", "ceiling", "is_cloned"),
    [
        ("", b"", None, False),
        ('network.allow = ["git.example.org"]\n', b"", None, True),
        ('network.allow = ["git.example.org:22"]\n', b"", None, False),
        ('network.allow = ["git.example.org"]\n', b"", "a.example", False),
        ("", KEY, None, True),
        ("", KEY.replace(b"alice", b"bob"), None, False),
        ("", KEY.replace(b".org", b".org:8443"), None, False),
    ],
)
def test_a_workspace_whose_host_cannot_be_reached_is_named(
    more: str, file: bytes, ceiling: str | None, is_cloned: bool
) -> None:
    texts = words("", more + WORKSPACE, ceiling, parse_operator_file(file))
    note = 'UNREACHABLE: workspace "tools": the agent may not reach git.example.org:443'
    assert (note in texts) is not is_cloned
    assert any(text.startswith('workspace "tools": new') for text in texts)


def test_a_change_of_something_else_says_nothing_of_hosts() -> None:
    assert words('network.allow = ["a.example"]', 'network.allow = ["a.example"]\nlabel = "x"') == ['label: "" -> "x"']


def test_a_file_that_is_not_valid_says_nothing_of_hosts() -> None:
    here = NetworkView(AgentName("alice"), FILE)
    assert "reach" not in "".join(describe(flat(""), {SETTINGS_FILE: "(broken)"}, here))
    assert "it may newly reach" in "".join(describe({SETTINGS_FILE: "(broken)"}, flat('network.allow = ["a.b"]'), here))
