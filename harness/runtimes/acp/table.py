"""Everything in which the agents of the Agent Client Protocol differ, as data: one row for each preset.

No other module knows an agent's name. The rows were filled by runs of the versions in `seen` on 2026-11-29 and 30;
docs/reference/runtimes.md says what follows from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from harness.runtimes.acp.rules import TOO_LONG, WRONG_MODEL, Path, Rule
from harness.runtimes.base import Capabilities, Ending
from meta.agent_toml.clis import CLIS
from meta.agent_toml.tools import TOOLS, Tools


@dataclass(frozen=True, slots=True)
class Placed:
    """A value of hive and its place: a variable, or with `path` a key in the JSON object of a variable.

    Texts in `value` may contain {model}, {provider} (the model's part before "/"), {model_url}, {version} (of the API
    in its path), {key} (a dummy) and {prompt_file}. It is placed if `needs` has a value. "rules" has one if there are
    `permissions`, "key" if there is a key outside, "anthropic" and "anthropic-token" if it is of that kind.
    """

    needs: Literal["model", "model_url", "prompt_file", "rules", "key", "anthropic", "anthropic-token"]
    variable: str
    value: Any
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handed:
    """How the agent is given a list of `permissions` of agent.toml.

    "variable": a list, or with `each` a table of rules, at `path` and each path of `also` in the JSON of `variable`.
    "session": a list at `path` in the parameters of the session.
    `rest` is the rule for all other tools, before the others. `own` are the rules for hive's tools; in a table
    they stand last, and allow them.
    """

    where: Literal["variable", "session"]
    path: tuple[str, ...]
    variable: str = ""
    each: str | None = None
    rest: str | None = None
    own: tuple[str, ...] = ()
    also: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A file with `permissions` in TOML, which the agent obeys in each of its modes.

    It stands after `word`. `rest` is the decision for what no rule of `allow` names, and `narrowed` the key of what
    stands in brackets in a rule such as run_shell_command(git status).
    """

    word: str
    rest: str
    narrowed: str


@dataclass(frozen=True, slots=True)
class Preset:
    """One row: what is true of one agent."""

    name: str
    program: str
    """Empty: agent.toml has a `command`. There it stands instead of the program, before `words`."""
    install: str
    """How a person gets it."""
    capabilities: Capabilities
    words: tuple[str, ...] = ()
    """What makes the program speak the protocol."""

    # version
    minimum: tuple[int, ...] = ()
    seen: str = ""
    ask_version: tuple[str, ...] = ("--version",)
    """Words in place of `words`. Empty: it is only said in the answer to `initialize`."""

    # start
    env: Mapping[str, str] = field(default_factory=dict)
    placed: tuple[Placed, ...] = ()
    """Where the model and its base URL go."""

    # session
    client_meta: Mapping[str, Any] = field(default_factory=dict)
    """`_meta` of the client's capabilities."""
    mode: str | None = None
    """The mode in which it never asks."""
    asking_mode: str | None = None
    """The mode in which it asks, if there are `permissions`. None: there is none, or it is not needed."""
    system_prompt: Literal["append", "file", "prefix"] = "prefix"
    """"append": `systemPrompt` of the session. "file": it is told of a file. "prefix": before the first prompt."""
    hint: str = ""
    """Stands after hive's prompt: what the model of this agent must know of hive's tools."""
    pods_hint: str = ""
    """The same of the tools for sub-agents, if it has them."""
    replay: Literal["before", "after"] = "before"
    """session/load sends the history before its answer, or after it."""
    load_next_minute: bool = False
    """session/load fails in the clock minute in which the session was made."""
    model_by_session: bool = False
    """The model is chosen in the session, if the agent offers a choice there, and it is not the one of the session."""
    needs_model: bool = False
    """Without a model it would take a hosted one of its own maker."""
    allow: Handed | None = None
    deny: Handed | None = None
    tools: Tools | None = None
    """Its tools, by which the words of the rules are replaced. None: the rules have its own words alone."""
    policy: Policy | None = None
    """None, and neither of the two above: the rules only refuse what the agent asks about."""
    needs_tools: bool = True
    """It fetches hive's tools when a conversation begins or goes on. Until then it gets no prompt."""

    # turn
    text_has_id: bool = False
    """Text without a messageId is the CLI's own, not the model's."""
    not_model: str | None = None
    """Text that matches this is the CLI's own."""
    tool_in_id: str | None = None
    """The tool's name is group 1 of this pattern in the toolCallId."""
    server: Path = ()
    """Where a tool call names the MCP server, if the agent writes that there itself, and not the model."""
    notices: tuple[Path, ...] = ()
    """Texts in an update that a person should see: retries and the like."""
    failure: Path | None = None
    """Where an update or the answer says what failed: an object with `title`, `category`, `severity` and `actions`."""
    failed_if_null: tuple[Path, ...] = ()
    """The turn failed if the answer has one of these keys with null, whatever its stopReason is."""
    rules: tuple[Rule, ...] = ()
    quiet_seconds: float = 300.0
    """Without progress of the model for this long, and without a running tool, its API counts as away."""

    # usage: paths in the answer of a prompt
    input_tokens: Path = ("usage", "inputTokens")
    output_tokens: Path = ("usage", "outputTokens")
    cached_tokens: Path = ("usage", "cachedReadTokens")
    model: Path = ("_meta", "quota", "model_usage", 0, "model")

    # end
    cancel_seconds: float = 8.0
    """Seconds in which a cancelled turn is answered. Then the process is ended."""
    end_after_cancel: bool = False
    """A cancelled turn leaves its shell children running, so the process is ended with all of them."""
    end_seconds: float = 3.0
    """Seconds between SIGTERM and SIGKILL. 0: SIGTERM is ignored."""
    compact: str | None = None
    """A prompt that compacts the conversation."""


def _able(*, context: bool = True, compact: bool = False, cost: bool = False, login: bool = False) -> Capabilities:
    return Capabilities(resume=True, inject=False, compact=compact, login=login, cost=cost, context=context)


_CODEX = Preset(
    name="codex",
    program=CLIS["codex"].program,
    install=CLIS["codex"].remedy,
    capabilities=_able(compact=True, login=True),
    minimum=CLIS["codex"].oldest,
    seen="2.6.0 (codex 0.166.0)",
    # without the second one each turn asks the model once more, for a next message that nobody wants
    env={"INITIAL_AGENT_MODE": "agent-full-access", "CODEX_ACP_PROMPT_SUGGESTIONS": "false"},
    placed=(
        Placed("model", "CODEX_CONFIG", "{model}", ("model",)),
        Placed("model_url", "CODEX_CONFIG", "hive", ("model_provider",)),
        Placed(
            "model_url",
            "CODEX_CONFIG",
            {"name": "hive", "base_url": "{model_url}/v1", "wire_api": "responses", "requires_openai_auth": True},
            ("model_providers", "hive"),
        ),
        Placed("key", "CODEX_CONFIG", "OPENAI_API_KEY", ("model_providers", "hive", "env_key")),
        Placed("key", "CODEX_CONFIG", False, ("model_providers", "hive", "requires_openai_auth")),
        Placed("key", "OPENAI_API_KEY", "{key}"),
    ),
    # Without this a failed turn is a text and `usage: null`: no telling a limit from a wrong request.
    client_meta={"jetbrains": {"air": {"version": 1, "capabilities": ["sessionFailure"]}}},
    mode="agent-full-access",
    system_prompt="append",
    # its newest models get no list of the tools of MCP servers
    hint=(
        "The names of hive's tools begin with `mcp__hive__`. If they are not among the tools that you are offered, "
        'call them within `exec`, as in `text(await tools.mcp__hive__send({to: "operator", body: "..."}))`. '
        "`ALL_TOOLS` has their arguments."
    ),
    pods_hint="The names of the tools for sub-agents begin with `mcp__pods__`, and they are called in the same way.",
    text_has_id=True,
    server=("rawInput", "server"),
    notices=(("_meta", "codex", "error", "message"), ("_meta", "jetbrains", "air", "sessionFailure", "title")),
    failure=("_meta", "jetbrains", "air", "sessionFailure"),
    failed_if_null=(("usage",),),
    rules=(
        Rule(Ending.NEEDS_LOGIN, kind="access:.*"),
        Rule(Ending.OVERFLOW, kind="limit:new_session"),
        # it calls these a fault of the service that may be tried again
        TOO_LONG,
        WRONG_MODEL,
        Rule(Ending.REFUSED, kind="service:.*", text="invalid_request_error"),
        Rule(Ending.PARKED, kind="(limit|service|connection):.*"),
        Rule(Ending.REFUSED, kind="request:.*"),
    ),
    end_after_cancel=True,
    compact="/compact",
)

_GEMINI = Preset(
    name="gemini",
    program=CLIS["gemini"].program,
    words=("--acp",),
    install=CLIS["gemini"].remedy,
    capabilities=_able(context=False, compact=False),
    minimum=CLIS["gemini"].oldest,
    seen="0.61.0",
    env={"GEMINI_CLI_NO_RELAUNCH": "true", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
    placed=(
        Placed("model", "GEMINI_MODEL", "{model}"),
        Placed("model_url", "GOOGLE_GEMINI_BASE_URL", "{model_url}"),
        Placed("key", "GEMINI_API_KEY", "{key}"),
    ),
    mode="yolo",
    replay="after",
    load_next_minute=True,
    # a rule for the tools of an MCP server counts when they are offered, not when they run: so it asks about the rest
    policy=Policy("--policy", rest="ask_user", narrowed="commandPrefix"),
    asking_mode="default",
    tools=TOOLS["gemini"],
    not_model=r"\[MODE_UPDATE\] .*",
    tool_in_id="(.+?)__",
    input_tokens=("_meta", "quota", "token_count", "input_tokens"),
    output_tokens=("_meta", "quota", "token_count", "output_tokens"),
)

_OPENCODE_RULES = Handed(
    "variable",
    ("permission",),
    "OPENCODE_CONFIG_CONTENT",
    own=("hive_*", "pods_*"),
    # the rules of an agent of opencode come after the common ones
    also=tuple(("agent", name, "permission") for name in ("build", "plan", "general", "explore")),
)
_OPENCODE = Preset(
    name="opencode",
    program=CLIS["opencode"].program,
    words=("acp",),
    install=CLIS["opencode"].remedy,
    capabilities=_able(cost=True),
    minimum=CLIS["opencode"].oldest,
    seen="1.18.33",
    env={"OPENCODE_DISABLE_AUTOUPDATE": "true"},
    placed=(
        Placed("model", "OPENCODE_CONFIG_CONTENT", "{model}", ("model",)),
        Placed(
            "model_url",
            "OPENCODE_CONFIG_CONTENT",
            "{model_url}{version}",
            ("provider", "{provider}", "options", "baseURL"),
        ),
        Placed("key", "OPENCODE_CONFIG_CONTENT", "{key}", ("provider", "{provider}", "options", "apiKey")),
        Placed("prompt_file", "OPENCODE_CONFIG_CONTENT", ["{prompt_file}"], ("instructions",)),
        # the agent writes the configuration of its working directory and the plugins
        Placed("rules", "OPENCODE_DISABLE_PROJECT_CONFIG", "true"),
        Placed("rules", "OPENCODE_PURE", "true"),
        Placed("rules", "OPENCODE_CONFIG_CONTENT", "build", ("default_agent",)),
    ),
    system_prompt="file",
    model_by_session=True,  # a conversation keeps the model that it had
    needs_model=True,
    allow=replace(_OPENCODE_RULES, each="allow", rest="deny"),
    deny=replace(_OPENCODE_RULES, each="deny"),
    tools=TOOLS["opencode"],
    text_has_id=True,
    # its tokens are those of the last call of a turn alone
)

_CLAUDE_ACP = Preset(
    name="claude-acp",
    program=CLIS["claude-acp"].program,
    install=CLIS["claude-acp"].remedy,
    capabilities=_able(compact=True, cost=True, login=True),
    minimum=CLIS["claude-acp"].oldest,
    seen="0.101.0 (claude 2.1.318)",
    # IS_SANDBOX: as root it offers the mode only with this
    env={"IS_SANDBOX": "1", "ENABLE_TOOL_SEARCH": "false", "DISABLE_AUTOUPDATER": "1"},
    placed=(
        Placed("model", "ANTHROPIC_MODEL", "{model}"),
        Placed("model_url", "ANTHROPIC_BASE_URL", "{model_url}"),
        Placed("anthropic", "ANTHROPIC_API_KEY", "{key}"),
        Placed("anthropic-token", "CLAUDE_CODE_OAUTH_TOKEN", "{key}"),
    ),
    mode="bypassPermissions",
    system_prompt="append",
    asking_mode="default",
    allow=Handed("session", ("_meta", "claudeCode", "options", "allowedTools"), own=("mcp__hive", "mcp__pods")),
    deny=Handed("session", ("_meta", "claudeCode", "options", "disallowedTools")),
    tools=TOOLS["claude-acp"],
    text_has_id=True,
    needs_tools=False,  # when it fetches them was not tried
    compact="/compact",
)

_ACP = Preset(
    name="acp",
    program="",
    install="set `command` in agent.toml to an agent that speaks the Agent Client Protocol on stdin and stdout",
    capabilities=_able(),
    ask_version=(),
    model_by_session=True,
    needs_tools=False,
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {preset.name: preset for preset in (_CODEX, _GEMINI, _OPENCODE, _CLAUDE_ACP, _ACP)}
)
