"""The tools of the CLIs by kind, as data, and what a word of `permissions` means there. Standard library only.

A CLI obeys rules that name its own tools. agent.toml may also name a kind of tool, or use `*`: those words are replaced
by the tools of this list. `hive diff` names each word that means nothing to the CLI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

from meta.agent_toml.runtimes import RuntimeName


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one CLI.

    `kinds` are its tools by kind; those of "" have none. `aliases` are tools that its rules know by another name.
    `server` begins the name of a tool of an MCP server. Of the tools in `narrowed` a rule may name the arguments, in
    brackets; with `prefix_only` those have a `*` at their end alone. With `wildcards` its rules may contain `*`.
    """

    kinds: Mapping[str, tuple[str, ...]]
    server: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    narrowed: str = r"(?!)"
    prefix_only: bool = False
    wildcards: bool = False

    def meant(self, word: str, servers: Sequence[str] = ()) -> list[str]:
        """Return the rules of the CLI for a word of agent.toml; none if the CLI cannot be held to it."""
        match = re.fullmatch(r"([^()]+)\((.*)\)", word)
        name, arguments = (match[1], match[2]) if match else (word, "")
        names = self._names(name.lower())
        if match:
            fits = not self.prefix_only or "*" not in arguments.removesuffix("*")
            return [f"{one}({arguments})" for one in names if fits and re.fullmatch(self.narrowed, one)]
        if self.wildcards and "*" in word:
            return [*names, word]
        return names or self._of_server(word, servers)

    def _names(self, pattern: str) -> list[str]:
        found = [tool for kind, tools in self.kinds.items() for tool in tools if pattern in (kind, "*")]
        tools = [tool for tools in self.kinds.values() for tool in tools]
        found += [tool for tool in tools if fnmatchcase(tool.lower(), pattern)]
        found += [tool for alias, tool in self.aliases.items() if fnmatchcase(alias.lower(), pattern)]
        return list(dict.fromkeys(found))

    def _of_server(self, word: str, servers: Sequence[str]) -> list[str]:
        prefixes = [self.server.format(server) for server in servers]
        return [word] if any(word.startswith(prefix) or f"{word}__" == prefix for prefix in prefixes) else []


TOOLS: Mapping[RuntimeName, Tools] = MappingProxyType(
    {
        "gemini": Tools(
            {
                "read": ("read_file", "read_many_files", "list_directory", "glob", "grep_search"),
                "edit": ("replace", "write_file"),
                "execute": ("run_shell_command",),
                "fetch": ("web_fetch", "google_web_search"),
                "": ("invoke_agent", "activate_skill", "write_todos", "read_mcp_resource", "list_mcp_resources"),
            },
            server="mcp_{}_",
            aliases={"search_file_content": "grep_search"},
            narrowed="run_shell_command",
            prefix_only=True,
        ),
        "opencode": Tools(
            {
                "read": ("read", "grep", "glob", "list", "lsp"),
                "edit": ("edit",),
                "execute": ("bash",),
                "fetch": ("webfetch", "websearch", "codesearch"),
                "": ("task", "skill", "todowrite", "todoread", "question", "external_directory", "doom_loop"),
            },
            server="{}_",
            # it has one rule for all that write
            aliases={"write": "edit", "patch": "edit", "apply_patch": "edit", "multiedit": "edit", "shell": "bash"},
            wildcards=True,
        ),
        "claude-acp": Tools(
            {
                "read": ("Read", "Glob", "Grep"),
                "edit": ("Edit", "Write", "NotebookEdit"),
                "execute": ("Bash",),
                "fetch": ("WebFetch", "WebSearch"),
                "": ("Agent", "Task", "Skill", "TodoWrite", "BashOutput", "KillShell", "TaskOutput", "TaskStop"),
            },
            server="mcp__{}__",
            narrowed="Bash|Read|Edit|Write|Glob|Grep|WebFetch|WebSearch|Agent|Task|Skill|NotebookEdit",
        ),
    }
)
"""The tools of the CLIs that obey rules, in the versions of 2026-11-30 (docs/reference/runtimes.md)."""
