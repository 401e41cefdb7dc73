"""A word of `permissions` is replaced by the tools of the CLI that it stands for."""

from __future__ import annotations

import pytest

from meta.agent_toml.obeyed import obeyed
from meta.agent_toml.tools import TOOLS


@pytest.mark.parametrize(
    ("runtime", "word", "rules"),
    [
        ("gemini", "execute", ["run_shell_command"]),
        ("gemini", "edit", ["replace", "write_file"]),
        ("gemini", "WRITE_*", ["write_file", "write_todos"]),
        ("gemini", "run_shell_command(git *)", ["run_shell_command(git *)"]),
        ("gemini", "execute(git *)", ["run_shell_command(git *)"]),
        ("gemini", "run_shell_command(git * push)", []),
        ("gemini", "read_file(x)", []),
        ("gemini", "Bash", []),
        ("gemini", "mcp_wiki_*", ["mcp_wiki_*"]),
        ("gemini", "mcp_other_*", []),
        ("opencode", "execute", ["bash"]),
        ("opencode", "Bash", ["bash"]),
        ("opencode", "write", ["edit"]),
        ("opencode", "b*", ["bash", "b*"]),
        ("opencode", "bash(git *)", []),
        ("opencode", "wiki_search", ["wiki_search"]),
        ("claude-acp", "execute", ["Bash"]),
        ("claude-acp", "Bash(git *)", ["Bash(git *)"]),
        ("claude-acp", "mcp__wiki", ["mcp__wiki"]),
    ],
)
def test_a_word_stands_for_tools(runtime: str, word: str, rules: list[str]) -> None:
    tools = next(row for name, row in TOOLS.items() if name == runtime)
    assert tools.meant(word, ["wiki"]) == rules


@pytest.mark.parametrize("runtime", TOOLS)
def test_each_kind_that_the_page_names_has_tools_in_each_runtime_that_obeys_rules(runtime: str) -> None:
    tools = next(row for name, row in TOOLS.items() if name == runtime)
    assert obeyed(runtime).deny
    for kind in ("read", "edit", "execute", "fetch"):
        assert tools.meant(kind)
