"""docs/reference/network.md says what the code says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from meta.agent_toml.network import ENTRIES_LIMIT
from meta.agent_toml.runtimes import RUNTIMES
from meta.agent_toml.settings import flatten, parse_settings
from meta.names import AgentName
from meta.network.credentials import KEYS as OF_A_KEY
from meta.network.operator_file import GROUP_LIMIT, IDLE_LEAST, KEYS, LIMITS, OperatorFile, parse_operator_file
from meta.network.policy import RULES_LIMIT
from meta.network.reach import GRANTS_ROOM
from meta.network.routes import KINDS, MODEL_ROUTES
from meta.network.rule import parse_rule
from meta.network.runtime_hosts import RUNTIME_HOSTS
from meta.network.verdict import Verdict
from reconciler.queries.diffs import NetworkView, describe

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "network.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> dict[str, list[str]]:
    """Return the cells after the first one of each row of a section's table, by the first one."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return {row[0]: row[1:] for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def block(title: str, kind: str) -> str:
    return section(title).partition(f"```{kind}\n")[2].partition("```")[0]


@pytest.mark.parametrize("cell", list(rows("Rules")))
def test_each_example_of_a_rule_is_one_in_its_one_spelling(cell: str) -> None:
    for text in re.findall(r"`([^`]+)`", cell):
        assert parse_rule(text).text == text


def test_every_key_of_the_operators_file_has_a_row() -> None:
    keys = [key for key in KEYS if key not in ("limits", "credentials")]
    limits = [f"limits.{key}" for key in LIMITS]
    named = ["credentials.NAME", *(f"credentials.NAME.{key}" for key in OF_A_KEY)]
    assert list(rows("The operator's file")) == [f"`{key}`" for key in (*keys, *limits, *named)]


def test_the_defaults_and_the_kinds_of_keys_are_those_of_the_parser() -> None:
    table, default = rows("The operator's file"), OperatorFile()
    assert table["`limits.connections`"][0] == f"`{default.connections}`"
    assert table["`limits.idle_seconds`"][0] == f"`{default.idle_seconds:g}`"
    assert f"at least {IDLE_LEAST:g}" in table["`limits.idle_seconds`"][1]
    assert f"at most {GROUP_LIMIT} rules" in table["`groups`"][1]
    assert re.findall(r"`([^`]+)`", table["`credentials.NAME.kind`"][1]) == list(KINDS)


def test_the_limits_of_rules_are_named() -> None:
    assert f"at most {ENTRIES_LIMIT} entries" in PAGE and f"at most {RULES_LIMIT - GRANTS_ROOM} rules" in PAGE


def test_the_example_of_the_file_is_taken() -> None:
    text = block("The operator's file", "toml")
    assert tomllib.loads(text).keys() == {*KEYS}
    assert set(parse_operator_file(text.encode()).routes) == {"anthropic", "forge"}


def test_every_verdict_has_a_row() -> None:
    assert list(rows("Verdicts")) == [f"`{verdict}`" for verdict in Verdict]


def test_the_hosts_of_each_runtime_are_those_of_the_table() -> None:
    table = rows("Hosts of the runtimes")
    assert list(table) == [f"`{name}`" for name in RUNTIME_HOSTS] and {*RUNTIME_HOSTS} == {*RUNTIMES}
    for name, known in RUNTIME_HOSTS.items():
        api, login, kinds = (re.findall(r"`([^`]+)`", cell) for cell in table[f"`{name}`"])
        assert [[rule.host for rule in known.api], [rule.host for rule in known.login]] == [api, login]
        assert list(MODEL_ROUTES.get(name, ())) == kinds
        assert all(rule.ports == (443,) for rule in (*known.api, *known.login))


def test_the_example_of_a_proposal_is_what_the_diff_says() -> None:
    shown = block("What a proposal shows", "")
    entries = re.findall(r'"([^"]+)"', re.findall(r"network.allow: added (.*)", shown)[0])
    file = parse_operator_file(
        b'private = ["registry.corp:443"]\n[groups]\npython = ["pypi.org", "files.pythonhosted.org"]'
    )
    before = 'network.allow = ["old.example"]'
    after = f'runtime = "claude"\nnetwork.allow = {entries!r}'
    old, new = (flatten(parse_settings(text.encode())) for text in (before, after))
    texts = "\n".join(describe(old, new, NetworkView(AgentName("alice"), file)))
    assert texts.replace('removed "old.example", added', "added") + "\n" == shown
