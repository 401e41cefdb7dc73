"""The system prompt of a coding agent: hive's text for its role, then the prompt of its agent.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.prompts.check import command
from meta.agent_toml.guide import KEYS
from meta.agent_toml.settings import AgentSettings
from meta.agent_toml.values import check_prompt, fill_prompt
from meta.errors import BadInput
from meta.names import ALL, AgentName
from meta.text import one_line

AGENT = "agent.md"
MANAGER = "manager.md"
"""Follows AGENT in the manager's prompt."""
NAMES = (
    "self",
    "role",
    "label",
    "description",
    "recipients",
    "budget",
    "turn_minutes",
    "tool_minutes",
    "state",
    "agents",
    "work",
    "check",
    "keys",
)
"""Placeholders of the two files. agent.toml has fewer (meta.agent_toml.values.PROMPT_NAMES)."""


@dataclass(frozen=True, slots=True)
class Places:
    """Paths that the prompt names, inside the container."""

    state: Path = Path("/state")
    """The working directory is the folder `work` in it."""
    agents: Path = Path("/agents")


def render_prompt(agent: AgentName, settings: AgentSettings, *, manager: bool, places: Places = Places()) -> str:
    """Return the system prompt. Raise BadInput with the file and the name of a placeholder that is unknown."""
    values = {
        "self": str(agent),
        "role": "manager" if manager else "agent",
        "label": one_line(settings.label) or str(agent),
        "description": one_line(settings.description),
        "recipients": _recipients(settings),
        "budget": _budget(settings),
        "turn_minutes": _minutes(settings.limits.turn_seconds),
        "tool_minutes": _minutes(settings.limits.tool_seconds),
        "work": str(places.state / "work"),
        "check": command(),
        "keys": KEYS,
        "state": str(places.state),
        "agents": str(places.agents),
    }
    parts = [_fill(name, _read(name), NAMES, values) for name in (AGENT, *((MANAGER,) if manager else ()))]
    if settings.prompt:
        parts.append("# From your configuration\n" + _fill("agent.toml: prompt", settings.prompt, None, values))
    return "\n\n".join(part.strip() for part in parts) + "\n"


POD = "pod.md"
POD_NAMES = ("self", "pod", "scope", "work", "turn_minutes", "tool_minutes")
"""Placeholders of the prompt of a sub-agent."""


def render_pod_prompt(pod: str, agent: AgentName, settings: AgentSettings, *, scope: str, work: Path) -> str:
    """Return the system prompt of the agent's sub-agent `pod`. `scope` is its summary (meta.scope.words)."""
    values = {
        "self": str(agent),
        "pod": pod,
        "scope": scope,
        "work": str(work),
        "turn_minutes": _minutes(settings.limits.turn_seconds),
        "tool_minutes": _minutes(settings.limits.tool_seconds),
    }
    return _fill(POD, _read(POD), POD_NAMES, values).strip() + "\n"


def _fill(where: str, text: str, names: tuple[str, ...] | None, values: Mapping[str, str]) -> str:
    try:
        return fill_prompt(check_prompt(text) if names is None else check_prompt(text, names), values)
    except ValueError as error:
        raise BadInput(f"{where}: {error}", "see docs/reference/agent-toml.md") from error


def _read(name: str) -> str:
    return resources.files("harness.prompts").joinpath(name).read_text(encoding="utf-8")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.4g}"


def _budget(settings: AgentSettings) -> str:
    budget = settings.budget
    parts = [f"{value:,} {name}" for name, value in budget.model_dump().items() if value is not None]
    if not parts:
        return "No budget limits you."
    return f"Your budget is {' and '.join(parts)} a day (UTC). Once it is used up you get no messages until midnight."


def _recipients(settings: AgentSettings) -> str:
    if ALL in settings.recipients:
        return "everybody"
    return ", ".join(f"`{name}`" for name in settings.recipients) or "the manager only"
