"""The command line, the environment and the files of the CLI, from the agent's settings. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.prompts.permissions import CLAUDE_SETTINGS, claude_settings
from harness.runtimes.base import DUMMY, ModelApi, RuntimeSpec
from harness.scope.bounds import Bounds
from meta.agent_toml.settings import McpServer
from meta.network.routes import MODEL_ROUTES

PROGRAM = "claude"
DEFAULT_MODEL = "haiku"
"""The model if neither the operator nor agent.toml names one, as in the seed."""

LONG = 86_400_000
"""Milliseconds of a call of hive's tools, some of which wait for people: a day."""

DEFAULTS: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "4",  # about 8 s; hive waits and tries again by itself
    "CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT": "0",  # a tool of hive may be silent until a person answers
    "DISABLE_AUTOUPDATER": "1",
    "IS_SANDBOX": "1",  # the container is one; without it root may not skip the questions
    "MCP_TIMEOUT": "20000",  # a server that hangs at its start delays the first turn by this
}
"""Variables that agent.toml may change."""

FIXED: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # their end begins turns of which hive knows nothing, also in a pause
}
"""Variables that it may not change."""

DUMMIES: Mapping[str, str] = {"anthropic": "ANTHROPIC_API_KEY", "anthropic-token": "CLAUDE_CODE_OAUTH_TOKEN"}
"""The variable of the dummy for each kind of key outside."""

MCP_FILE, SETTINGS_FILE, PROMPT_FILE = "claude-mcp.json", CLAUDE_SETTINGS, "claude-prompt.md"

STREAM_INPUT = "--input-format"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the CLI: its files by name, in the folder of `Enclosure.files`, are written before.

    The kernel keeps it to `bounds`.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    files: Mapping[str, str]
    bounds: Bounds | None = None


def launch(
    spec: RuntimeSpec,
    model: str,
    session: str,
    *,
    resume: bool,
    servers: Mapping[str, McpServer],
    without: Sequence[str] = (),
) -> Launch:
    """Return how to start the CLI for a conversation. `servers` are those of agent.toml.

    `without` names options that this CLI does not know. Without `--input-format` a process does one turn.
    """
    folder = spec.enclosure.files
    options: dict[str, str | None] = {
        STREAM_INPUT: "stream-json",
        "--output-format": "stream-json",
        "--verbose": None,
        "--include-partial-messages": None,
        "--model": model,
        "--resume" if resume else "--session-id": session,
        "--setting-sources": "",
        "--settings": str(folder / SETTINGS_FILE),
        "--strict-mcp-config": None,
        "--mcp-config": str(folder / MCP_FILE),
    }
    files = {
        MCP_FILE: _json({"mcpServers": _servers(spec, servers)}),
        SETTINGS_FILE: _json(claude_settings(spec.settings)),
    }
    if spec.prompt:
        options |= {"--append-system-prompt-file": str(folder / PROMPT_FILE), "--system-prompt-snapshot": "off"}
        files[PROMPT_FILE] = spec.prompt
    if spec.settings.limits.max_turns is not None:
        options["--max-turns"] = str(spec.settings.limits.max_turns)
    words = [word for option, value in options.items() if option not in without for word in _words(option, value)]
    command = spec.settings.command or [PROGRAM]
    return Launch((*command, "-p", *words), environment(spec), spec.enclosure.work, files, spec.enclosure.bounds())


def environment(spec: RuntimeSpec) -> dict[str, str]:
    """Return the whole environment of the CLI. No secret is in it."""
    home, access = spec.enclosure.home, spec.enclosure.access()
    fixed = {**FIXED, "HOME": str(home), **access.env, **_model(access.api(MODEL_ROUTES["claude"]))}
    defaults = {**DEFAULTS, "CLAUDE_CONFIG_DIR": str(home / ".claude")}
    return {**defaults, **spec.enclosure.env, **spec.settings.env, **fixed}


def _model(api: ModelApi) -> dict[str, str]:
    """Return the variables for the model's API. A dummy of the key's kind stands for a key outside: the CLI wants one,
    and asks in another way with each kind.
    """
    variables = {} if api.url is None else {"ANTHROPIC_BASE_URL": api.url}
    return variables if not api.kind else {**variables, DUMMIES[api.kind]: DUMMY}


def _servers(spec: RuntimeSpec, servers: Mapping[str, McpServer]) -> dict[str, Any]:
    """Return the MCP servers: those of hive, whose tools the model sees at once, and those of agent.toml."""
    found: dict[str, Any] = {}
    for name, server in servers.items():
        if server.command:
            program, *arguments = server.command
            found[name] = {"type": "stdio", "command": program, "args": arguments, "env": server.env}
        else:
            found[name] = {"type": "http", "url": server.url, "headers": server.headers}
    if (own := spec.enclosure.mcp) is not None:
        headers = {"Authorization": f"Bearer {own.token}"}
        for name, url in own.servers.items():
            found[name] = {"type": "http", "url": url, "headers": headers, "alwaysLoad": True, "timeout": LONG}
    return found


def _words(option: str, value: str | None) -> list[str]:
    return [option] if value is None else [option, value]


def _json(value: object) -> str:
    return json.dumps(value, indent=1)
