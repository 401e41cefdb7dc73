"""The hosts that the CLI of each runtime needs: its model's API, and those of its login while that lives inside.

Standard library only. Sources: `docs/reference/runtimes.md`, seen with the versions named there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meta.network.rule import Rule, parse_rule


@dataclass(frozen=True, slots=True)
class RuntimeHosts:
    """`api`: asked in each turn. `login`: asked by a login, its refresh and its end. A key outside needs neither."""

    api: tuple[Rule, ...] = ()
    login: tuple[Rule, ...] = ()


def _rules(*texts: str) -> tuple[Rule, ...]:
    return tuple(parse_rule(f"{text}:443") for text in texts)


RUNTIME_HOSTS: Mapping[str, RuntimeHosts] = MappingProxyType(
    {
        "script": RuntimeHosts(),
        "claude": RuntimeHosts(_rules("api.anthropic.com"), _rules("platform.claude.com", "claude.ai")),
        "claude-acp": RuntimeHosts(_rules("api.anthropic.com"), _rules("platform.claude.com", "claude.ai")),
        "codex": RuntimeHosts(_rules("api.openai.com"), _rules("auth.openai.com", "chatgpt.com")),
        "gemini": RuntimeHosts(
            _rules("generativelanguage.googleapis.com"),
            _rules("oauth2.googleapis.com", "cloudcode-pa.googleapis.com", "accounts.google.com"),
        ),
        "opencode": RuntimeHosts(),
        "acp": RuntimeHosts(),
    }
)
"""One row per runtime. `opencode` and `acp` may use any model's API: agent.toml names it."""


def runtime_rules(runtime: str, *, key_outside: bool) -> tuple[Rule, ...]:
    """Return the rules that an agent of the runtime has without naming them."""
    hosts = RUNTIME_HOSTS.get(runtime, RuntimeHosts())
    return () if key_outside else (*hosts.api, *hosts.login)
