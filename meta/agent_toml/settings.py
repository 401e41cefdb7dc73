"""`agent.toml`: the settings of an agent for its harness, validated with errors that name the key.

    runtime = "script"                  # or one of RUNTIMES
    command = ["..."]                   # the CLI, instead of the runtime's own; obligatory for "acp"
    model = "..."                       # for runtimes that have one
    label, description, prompt          # text
    env = { KEY = "..." }               # for the CLI and its tools; no secrets (meta.agent_toml.values)
    recipients = ["*"]                  # to whom the agent may write: names, "operator", or "*"
    auto_propose = false                # each commit on main of its proposed work tree becomes a proposal
    [limits]  turn_seconds, max_turns, silence_seconds, tool_seconds
    [permissions]  allow = ["..."], deny = ["..."]
    [budget]  turns, tokens, dollars    # per day
    [scope]  allow = [{ target, permission, recursive }], deny     # paths of the CLI (meta.agent_toml.scope)
    [pods]  max, reports                # sub-agents, and what of other agents' pods is told to the manager
    [network]  allow = ["..."], defaults = true     # what the agent may reach (meta.agent_toml.network)
    [[workspace]]  url, branch, path    # repos that are cloned at the first start (meta.agent_toml.workspace)
    [mcp_servers.<name>]  command = ["..."], env = { KEY = "..." }, or url = "...", headers = { KEY = "..." }
    [[script]]                          # rules of runtime "script" (meta.agent_toml.script): the first match wins
    [start]                             # faults on purpose, to try the health gate

People and agents write the file: unknown keys are rejected, and nothing here trusts it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from meta.agent_toml.complaint import SEE, VALUE_LIMIT, explain
from meta.agent_toml.network import Network
from meta.agent_toml.runtimes import WITH_COMMAND, WITHOUT_CLI, RuntimeName
from meta.agent_toml.scope import ScopeRule, ScopeSettings
from meta.agent_toml.script import Ask, Commit, ExitCode, Remind, Request, ScriptRule, Send, Table, compile_pattern
from meta.agent_toml.shape import check_shape
from meta.agent_toml.values import (
    ENTRIES_LIMIT,
    check_command,
    check_headers,
    check_model,
    check_prompt,
    check_rules,
    check_url,
    check_variables,
)
from meta.agent_toml.workspace import WORKSPACES_LIMIT, Workspace, check_workspaces
from meta.errors import BadInput
from meta.names import ALL, HIVE, OPERATOR, PODS, agent_name
from meta.text import one_line

MAX_RULES = 64
"""Rules of the script runtime in one agent.toml."""

_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SETTINGS_FILE = "agent.toml"

CommandWords = Annotated[list[str], Field(min_length=1), AfterValidator(check_command)]
Variables = Annotated[dict[str, str], AfterValidator(check_variables)]
Rules = Annotated[list[str], Field(max_length=256), AfterValidator(check_rules)]

Fault = Literal["never-hello", "mute", "old-generation", "hello-then-exit", "flap"]


class TurnLimits(Table):
    """The limits of one turn: seconds of wall time, and rounds of the model.

    `silence_seconds`: without a line of the CLI and without a running tool for this long it counts as dead (a CLI may
    itself wait 300 s for a stalled stream). `tool_seconds`: the same while a tool runs.
    """

    turn_seconds: float = Field(default=3600.0, gt=0, le=86_400)
    max_turns: int | None = Field(default=None, ge=1, le=10_000)
    silence_seconds: float = Field(default=600.0, gt=0, le=86_400)
    tool_seconds: float = Field(default=1800.0, gt=0, le=86_400)


class Permissions(Table):
    """Rules of the CLI for its tools, in its own words. Nothing in both: it may do all (the container is the wall)."""

    allow: Rules = Field(default_factory=list)
    deny: Rules = Field(default_factory=list)


class Budget(Table):
    """The most per day (UTC). None: no limit."""

    turns: int | None = Field(default=None, ge=1, le=10**9)
    tokens: int | None = Field(default=None, ge=1, le=10**15)
    dollars: float | None = Field(default=None, gt=0, le=10**9, allow_inf_nan=False)


class McpServer(Table):
    """An additional MCP server: a program started inside the container, or a URL. Exactly one of the two."""

    command: CommandWords | None = None
    env: Variables = Field(default_factory=dict)
    url: Annotated[str, Field(min_length=1), AfterValidator(check_url)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(check_headers)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.command is None) == (self.url is None):
            have = "needs" if self.command is None else "has command and url, and may have"
            raise ValueError(f'{have} one of command = ["..."] (a program in the container) and url = "..."')
        if self.url is not None and self.env:
            raise ValueError("env is for a program; a server with a url has headers")
        if self.command is not None and self.headers:
            raise ValueError("headers are for a url; a program has env")
        return self


Report = Literal["turn_ended", "errored", "shut_down", "scope_sub_delegated"]
"""What a pod reports to who is above it (meta.wire.pod.PodEvent)."""


class Pods(Table):
    """Sub-agents. `max`: how many the agent may have at a time.

    `reports`: which reports of agents' own pods the manager gets as messages. Only the manager's are read.
    """

    max: int = Field(default=0, ge=0, le=16)
    reports: list[Report] = Field(default_factory=list)


class Start(Table):
    """Faults at the start. `exit` ends before hello; `delay` waits seconds before everything else."""

    exit: ExitCode | None = None
    fault: Fault | None = None
    delay: float = Field(default=0.0, ge=0, le=3600)


class AgentSettings(Table):
    """The whole of agent.toml."""

    runtime: RuntimeName = "script"
    command: CommandWords | None = None
    model: Annotated[str, Field(min_length=1), AfterValidator(check_model)] | None = None
    label: str = ""
    description: str = ""
    prompt: Annotated[str, AfterValidator(check_prompt)] | None = None
    recipients: list[str] = Field(default_factory=lambda: [ALL])
    auto_propose: bool = False
    env: Variables = Field(default_factory=dict)
    permissions: Permissions = Permissions()
    budget: Budget = Budget()
    limits: TurnLimits = TurnLimits()
    scope: ScopeSettings | None = None
    pods: Pods = Pods()
    network: Network = Network()
    workspace: Annotated[list[Workspace], Field(max_length=WORKSPACES_LIMIT), AfterValidator(check_workspaces)] = Field(
        default_factory=list
    )
    mcp_servers: dict[str, McpServer] = Field(default_factory=dict)
    script: list[ScriptRule] = Field(default_factory=list, max_length=MAX_RULES)
    start: Start = Start()

    @field_validator("recipients")
    @classmethod
    def _names(cls, recipients: list[str]) -> list[str]:
        for recipient in recipients:
            if recipient not in (ALL, OPERATOR):
                try:
                    agent_name(recipient)
                except BadInput as error:
                    raise ValueError(error.summary) from error
        return recipients

    @field_validator("mcp_servers")
    @classmethod
    def _servers(cls, servers: dict[str, McpServer]) -> dict[str, McpServer]:
        for name in servers:
            if not _SERVER_NAME.fullmatch(name) or name.lower().startswith((HIVE, PODS)):  # hive's tools begin with it
                raise ValueError(
                    f"{name[:VALUE_LIMIT]!r} is not a name for a server: letters, digits, _ and -, at most 64, and it "
                    "does not begin with 'hive' or 'pods'"
                )
        if len(servers) > ENTRIES_LIMIT:
            raise ValueError(f"has {len(servers)} servers, the limit is {ENTRIES_LIMIT}")
        return servers

    @model_validator(mode="after")
    def _check_command(self) -> Self:
        if self.runtime in WITH_COMMAND and self.command is None:
            raise ValueError(
                f'command: is missing; runtime = "{self.runtime}" has no CLI of its own, so write '
                'command = ["my-agent", "--acp"]'
            )
        if self.runtime in WITHOUT_CLI and self.command is not None:
            raise ValueError(
                f'command: runtime = "{self.runtime}" starts no CLI; leave it out, or write another runtime'
            )
        return self

    def may_write_to(self, recipient: str) -> bool:
        """Return True if `recipients` allows messages to `recipient`."""
        return ALL in self.recipients or recipient in self.recipients


def parse_settings(data: bytes, where: str = SETTINGS_FILE) -> AgentSettings:
    """Return the settings in `data`. BadInput names the key: `agent.toml: limits.turn_seconds: must be a number, ...`.

    `where` is the file's name in the error. This is fast for every input, because the daemon parses files that agents
    write. So only `check_patterns` compiles the patterns of the rules.
    """
    return settings_of_table(_load(data, where), where)


def settings_of_table(table: Mapping[str, object], where: str = SETTINGS_FILE) -> AgentSettings:
    """Return the settings in a parsed agent.toml. Raise BadInput that names the key."""
    try:
        return AgentSettings.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path, text, hint = explain(first, _TABLES)
        summary = f"{where}: {path}: {text}" if path else f"{where}: {text}"
        raise BadInput(one_line(summary), one_line(hint)) from error


def check_patterns(settings: AgentSettings, where: str = SETTINGS_FILE) -> None:
    """Raise BadInput for the first rule whose `when` or `from` is not a regular expression.

    Only for the harness, in the agent's own container: compiling a hostile pattern can take seconds.
    """
    for index, rule in enumerate(settings.script):
        for key, pattern in (("when", rule.when), ("from", rule.sender)):
            try:
                compile_pattern(pattern)
            except ValueError as error:
                raise BadInput(one_line(f"{where}: script[{index}].{key}: {error}"), SEE) from error


def flatten(settings: AgentSettings) -> dict[str, str]:
    """Return every setting that has a value, defaults too, by its dotted key: `{"limits.turn_seconds": "3600"}`."""
    flat = dict(_leaves("", settings.model_dump(mode="json", by_alias=True, exclude_none=True)))
    for index, rule in enumerate(settings.script):
        if len(rule.order) > 1:
            flat[f"script[{index}] order"] = ", ".join(rule.order)
    return flat


def _load(data: bytes, where: str) -> dict[str, object]:
    check_shape(data, where)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: not UTF-8 at byte {error.start}", "save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not TOML: {error}", "see https://toml.io; text needs quotes") from error


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), child)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, child in enumerate(value):
            yield from _leaves(f"{path}[{index}]", child)
    elif isinstance(value, list) and path in _TABLE_LISTS:
        return
    elif isinstance(value, str):
        yield path, value
    elif isinstance(value, float) and value.is_integer():
        yield path, str(int(value))
    else:
        yield path, json.dumps(value, ensure_ascii=False)


_TABLE_LISTS = ("script", "workspace", "scope.allow", "scope.deny")
"""The lists of tables. An empty one is no setting."""

_TABLES: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): AgentSettings,
    ("limits",): TurnLimits,
    ("permissions",): Permissions,
    ("budget",): Budget,
    ("scope",): ScopeSettings,
    ("scope", "allow"): ScopeRule,
    ("scope", "deny"): ScopeRule,
    ("pods",): Pods,
    ("network",): Network,
    ("workspace",): Workspace,
    ("mcp_servers", "*"): McpServer,
    ("script",): ScriptRule,
    ("script", "send"): Send,
    ("script", "ask"): Ask,
    ("script", "remind"): Remind,
    ("script", "commit"): Commit,
    ("script", "request"): Request,
    ("start",): Start,
}
