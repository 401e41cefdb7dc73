"""docs/reference/runtimes.md says what the code says."""

from __future__ import annotations

import importlib
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from harness.prompts.permissions import claude_settings
from harness.runtimes.base import Capabilities, Ending
from harness.runtimes.claude.adapter import ClaudeRuntime
from harness.runtimes.claude.arguments import DEFAULTS
from harness.runtimes.script import ScriptRuntime
from meta.agent_toml.clis import CLIS, dotted
from meta.agent_toml.settings import AgentSettings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "runtimes.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells after the first one of each row of the first table, by what stands in backticks in that."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    return {row[0].strip("`"): row[1:] for row in cells}


def capabilities() -> dict[str, Capabilities]:
    found = {runtime.name: runtime.capabilities for runtime in (ScriptRuntime, ClaudeRuntime)}
    try:
        table = importlib.import_module("harness.runtimes.acp.table")
    except ModuleNotFoundError:
        return found
    return found | {name: preset.capabilities for name, preset in table.PRESETS.items()}


def test_the_table_has_the_capabilities_of_each_runtime() -> None:
    said = {name: ["yes" if able else "-" for able in asdict(known).values()] for name, known in capabilities().items()}
    assert rows(section("What each can do")) == said


def test_the_table_has_a_column_for_each_capability() -> None:
    head = next(line for line in PAGE.splitlines() if line.startswith("| runtime"))
    assert [cell.strip() for cell in head.strip("|").split("|")][1:] == [field.name for field in fields(Capabilities)]


def test_each_ending_is_explained() -> None:
    assert set(rows(section("How a turn ends"))) == set(Ending)


def test_the_tools_of_claude_that_are_off_are_named() -> None:
    named = section("`claude`").partition("**Tools that are off:**")[2].partition(".")[0]
    assert re.findall(r"`(\w+)`", named) == claude_settings(AgentSettings())["permissions"]["deny"]


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_variable_that_claude_gets_is_named_with_its_value(name: str) -> None:
    row = next(line for line in section("`claude`").splitlines() if line.startswith("| `") and f"`{name}`" in line)
    assert f"| `{DEFAULTS[name]}` |" in row


def test_the_oldest_versions_that_are_taken_are_named() -> None:
    assert f"hive takes {dotted(CLIS['claude'].oldest)} and newer" in section("`claude`")
    table = rows(section("Agents of the Agent Client Protocol").partition("\n| | ")[0])
    oldest = {name: row[2] for name, row in table.items() if name != "acp"}
    assert oldest == {name: dotted(cli.oldest) for name, cli in CLIS.items() if name != "claude"}
    assert all(cli.install.partition(" (")[0] in PAGE for cli in CLIS.values())
