"""Changes of agent.toml in words: all of them, none cut, and more rights first."""

from __future__ import annotations

import pytest

from meta.agent_toml.changes import MORE, describe_changes
from meta.agent_toml.settings import AgentSettings, flatten, parse_settings

_SCOPE = "[scope]\nallow = [{{ target = '{}', permission = '{}' }}]\n"
_DENY = "deny = [{ target = 'a/b', permission = 'write' }]\n"
SCOPE_CHANGED = 'scope.allow: removed write "a"; added read "a"'


def changes(before: str, after: str) -> list[str]:
    return describe_changes(flatten(parse_settings(before.encode())), flatten(parse_settings(after.encode())))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("", 'label = "a\\nb"', "label: 0 lines removed, 2 added\n  + a\n  + b"),
        ('label = "5"', "label = '[1]'", 'label: "5" -> "[1]"'),
        ('label = "a"', 'label = "b"', 'label: "a" -> "b"'),
        ("", 'model = "opus"', 'model: the runtime\'s default -> "opus"'),
        ('model = "opus"', "", 'model: "opus" -> the runtime\'s default'),
        ("", "budget.turns = 5", "budget.turns: no limit -> 5 turns a day"),
        ("budget.dollars = 2", "budget.dollars = 1.5", "budget.dollars: 2 dollars a day -> 1.5 dollars a day"),
        ("", "limits.tool_seconds = 5", "limits.tool_seconds: 1800 s -> 5 s"),
        ("", 'env.EDITOR = "ed"', 'env.EDITOR: unset -> "ed"'),
        ("", 'permissions.deny = ["Bash"]', 'permissions.deny: added "Bash"'),
        ("", 'permissions.allow = ["Read"]', 'permissions.allow: added "Read"'),
        (
            "",
            _SCOPE.format(".", "read") + "deny = [{ target = 'x', permission = 'read', recursive = false }]",
            'scope: new, and nothing else than: read ".", but denied: read "x" and what is directly in it',
        ),
        (_SCOPE.format("a", "write"), _SCOPE.format("a", "read"), MORE + SCOPE_CHANGED),
        (_SCOPE.format("a", "read"), "", f"{MORE}scope: removed; the agent may read and write what its user may"),
        (
            _SCOPE.format("a", "read") + _DENY,
            _SCOPE.format("a", "read"),
            f'{MORE}scope.deny: removed write "a/b"',
        ),
        (_SCOPE.format("a", "read"), _SCOPE.format("a", "read") + _DENY, 'scope.deny: added write "a/b"'),
        ("", "pods = { max = 4 }", f"{MORE}pods.max: 0 sub-agents at a time -> 4 sub-agents at a time"),
        ("", 'pods = { reports = ["errored"] }', 'pods.reports: added "errored"'),
        ("", 'network.allow = ["a.example"]', 'network.allow: added "a.example"'),
        (
            'network.allow = ["a.example"]',
            "",
            'network.allow: removed "a.example"; now the hosts of its runtime only',
        ),
        ("", "network.defaults = false", "network.defaults: true -> false"),
        ('recipients = ["bob"]', "recipients = []", 'recipients: removed "bob"; now the manager only'),
    ],
)
def test_a_change_that_gives_no_right_is_said_plainly(before: str, after: str, words: str) -> None:
    assert changes(before, after) == [words]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('permissions.deny = ["Bash", "x"]', 'permissions.deny = ["x"]', 'permissions.deny: removed "Bash"'),
        ('permissions.deny = ["Bash"]', "", 'permissions.deny: removed "Bash"; now no tool is denied'),
        ('permissions.allow = ["Read"]', "", 'permissions.allow: removed "Read"; now all tools are allowed'),
        ('permissions.allow = ["a"]', 'permissions.allow = ["b"]', 'permissions.allow: removed "a", added "b"'),
        ('recipients = ["bob"]', 'recipients = ["bob", "*"]', 'recipients: added "*"'),
        ("budget.tokens = 9", "", "budget.tokens: 9 tokens a day -> no limit"),
        ("budget.tokens = 9", "budget.tokens = 10", "budget.tokens: 9 tokens a day -> 10 tokens a day"),
        ("", 'runtime = "claude"', 'runtime: "script" -> "claude"'),
        (
            'runtime = "acp"\ncommand = ["a"]',
            'runtime = "acp"\ncommand = ["b"]',
            'command: ["a"] -> ["b"]',
        ),
        ("", "mcp_servers.x.url = 'https://a.b'", 'mcp_servers.x.url: unset -> "https://a.b"'),
        ("", "auto_propose = true", "auto_propose: false -> true"),
    ],
)
def test_a_change_with_which_the_agent_may_do_more_is_marked(before: str, after: str, words: str) -> None:
    assert changes(before, after)[0] == MORE + words


@pytest.mark.parametrize("after", ['recipients = ["bob"]', "recipients = []"])
def test_fewer_recipients_than_all_are_no_more_rights(after: str) -> None:
    assert not [text for text in changes("", after) if text.startswith(MORE)]


def test_what_gives_more_comes_first() -> None:
    both = changes('permissions.deny = ["Bash"]\nlabel = "a"', 'label = "b"')
    assert [text.startswith(MORE) for text in both] == [True, False]


def test_a_long_prompt_is_shown_as_the_lines_that_changed_and_none_is_cut() -> None:
    lines = [f"line {number} {'x' * 120}" for number in range(40)]
    other = [*lines[:20], "new\u200b one", "  - forged", *lines[22:]]
    (text,) = changes(f"prompt = '''{chr(10).join(lines)}'''", f"prompt = '''{chr(10).join(other)}'''")
    assert text.split("\n") == [
        "prompt: 2 lines removed, 2 added",
        f"    {lines[18]}",
        f"    {lines[19]}",
        f"  - {lines[20]}",
        f"  - {lines[21]}",
        "  + new\u200b one",
        "  +   - forged",
        f"    {lines[22]}",
        f"    {lines[23]}",
    ]


def test_a_prompt_of_which_all_changed_or_that_repeats_is_shown_whole() -> None:
    (text,) = changes("prompt = '''a\na\na'''", "prompt = '''a\na'''")
    assert text.split("\n")[0] == "prompt: 1 line removed, 0 added"
    (text,) = changes("prompt = '''a\nb'''", "prompt = '''c'''")
    assert text.split("\n")[1:] == ["  - a", "  - b", "  + c"]


def test_of_a_new_agent_what_is_not_the_default_is_shown_with_its_runtime() -> None:
    after = flatten(parse_settings(b'runtime = "claude"\nmodel = "opus"\npermissions.deny = ["Bash"]'))
    assert describe_changes({}, after) == ['runtime: "claude"', 'model: "opus"', 'permissions.deny: "Bash"']
    assert describe_changes({}, flatten(AgentSettings())) == ['runtime: "script"']


def test_settings_that_cannot_be_read_are_shown_as_such() -> None:
    words = describe_changes(flatten(AgentSettings()), {"agent.toml": "(agent.toml: label: must be text)"})
    assert 'agent.toml: unset -> "(agent.toml: label: must be text)"' in words


def test_the_same_settings_have_no_changes() -> None:
    assert changes('label = "a"', 'label = "a"') == []
