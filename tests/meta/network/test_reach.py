"""What an agent may reach: entries, groups, the runtime's own hosts, and what the ceiling forbids."""

from __future__ import annotations

import pytest

from meta.errors import Refused
from meta.network.operator_file import OperatorFile, parse_operator_file
from meta.network.policy import RULES_LIMIT
from meta.network.reach import ReachSettings, check_entries, key_outside, reached, unknown_groups
from meta.network.rule import Rule, parse_rule

FILE = parse_operator_file(
    b"""[groups]
python = ["pypi.org", "files.pythonhosted.org"]
[credentials.b]
kind = "anthropic-token"
file = "/b"
[credentials.a]
kind = "anthropic"
file = "/a"
agents = ["alice"]
"""
)


def rules(*texts: str) -> tuple[Rule, ...]:
    return tuple(map(parse_rule, texts))


def test_the_rules_are_those_of_the_entries_then_the_runtimes_own() -> None:
    reach = ReachSettings("bob", "claude", ("a.example", "@python"))
    found = reached(reach, OperatorFile(groups=FILE.groups))
    assert [(each.rule.text, each.group, each.runtime) for each in found] == [
        ("a.example", "", ""),
        ("pypi.org", "python", ""),
        ("files.pythonhosted.org", "python", ""),
        ("api.anthropic.com:443", "", "claude"),
        ("platform.claude.com:443", "", "claude"),
        ("claude.ai:443", "", "claude"),
    ]


def test_a_missing_group_gives_nothing_and_is_named() -> None:
    assert [each.rule for each in reached(ReachSettings("bob", "script", ("@rust", "a.example")), FILE)] == [
        *rules("a.example")
    ]
    assert unknown_groups(("@rust", "@python", "a.example"), FILE) == ["@rust"]


@pytest.mark.parametrize(("defaults", "agent"), [(False, "carl"), (True, "alice")])
def test_defaults_that_are_off_and_a_key_outside_bring_no_host(defaults: bool, agent: str) -> None:
    assert reached(ReachSettings(agent, "claude", (), defaults), FILE) == []


@pytest.mark.parametrize(("agent", "runtime", "name"), [
    ("alice", "claude", "a"), ("bob", "claude", "b"), ("bob", "codex", ""), ("bob", "script", ""), ("bob", "acp", ""),
])  # fmt: skip
def test_the_key_of_the_model_is_the_first_kind_that_serves_the_agent(agent: str, runtime: str, name: str) -> None:
    assert key_outside(ReachSettings(agent, runtime), FILE) == name


@pytest.mark.parametrize(
    ("entries", "ceiling", "words"),
    [
        (["a.example"], "*.example", None),
        (["a.example"], None, None),
        (["@python"], "pypi.org *.pythonhosted.org", None),
        (["a.example:22"], "a.example", "'a.example:22' is beyond the operator's ceiling, which allows a.example"),
        (["*"], "*.example", "'*' is beyond"),
        (["a.example"], "", "'a.example' is beyond the operator's ceiling, which allows nothing"),
        (["@python"], "pypi.org", "'files.pythonhosted.org' of '@python' is beyond"),
        (["@rust"], None, "'@rust' is no group of this host (there are: @python)"),
    ],
)
def test_an_entry_beyond_the_ceiling_or_of_no_group_is_refused(
    entries: list[str], ceiling: str | None, words: str | None
) -> None:
    limit = None if ceiling is None else rules(*ceiling.split())
    if words is None:
        return check_entries(entries, FILE, limit)
    with pytest.raises(Refused) as error:
        check_entries(entries, FILE, limit)
    assert f"network.allow: {words}" in error.value.summary and error.value.hint
    return None


def test_groups_cannot_expand_without_a_bound() -> None:
    file = OperatorFile(groups={"all": tuple(parse_rule(f"h{n}.example") for n in range(RULES_LIMIT))})
    with pytest.raises(Refused, match="512 rules with its groups expanded"):
        check_entries(["@all"], file, None)
