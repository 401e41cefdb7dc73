"""How an agent is started: its words, its environment, and the files that it reads then. Pure but for `write_files`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.runtimes.acp.table import Handed, Placed, Policy, Preset
from harness.runtimes.base import DUMMY, ModelApi, RuntimeSpec
from harness.runtimes.start_files import write_private
from harness.scope.bounds import Bounds
from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput
from meta.network.routes import MODEL_ROUTES

Json = dict[str, Any]

_VENDORS = {"anthropic": "anthropic", "openai": "openai", "google": "gemini"}
"""The kind of key for each vendor, as opencode names it in a model."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A start. `files` are written before it, `session` is added to the parameters of each session.

    The kernel keeps the agent to `bounds`.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[Path, str]
    session: Mapping[str, Any]
    bounds: Bounds | None = None


def launch_of(preset: Preset, spec: RuntimeSpec, model: str | None) -> Launch:
    """Return the start of an agent with a model. Raise BadInput if agent.toml lacks what it needs."""
    settings, enclosure = spec.settings, spec.enclosure
    argv = (*(settings.command or (preset.program,)), *preset.words)
    prompt = enclosure.files / f"{preset.name}-prompt.md" if preset.system_prompt == "file" and spec.prompt else None
    access = enclosure.access()
    values = {
        **_model_values(access.api(_kinds(preset, model)), model),
        "prompt_file": str(prompt or ""),
        "rules": "yes" if settings.permissions.allow or settings.permissions.deny else "",
    }
    if preset.needs_model and not model:
        raise BadInput(
            f"{preset.name} has no model, and would use a hosted one of its maker",
            f"set `model` in agent.toml, or `hive model {spec.agent} NAME`",
        )
    env = {**preset.env, **enclosure.env, **settings.env, **access.env, "HOME": str(enclosure.home)}
    for placed in preset.placed:
        if values[placed.needs]:
            _place(env, placed, values)
    texts: dict[Path, str] = {prompt: spec.prompt} if prompt else {}
    session: Json = {}
    rules = settings.permissions
    allow, deny = (_in_its_words(preset, settings, words) for words in (rules.allow, rules.deny))
    if preset.allow is not None and rules.allow:
        _hand_over(preset.allow, allow, env, session)
    if preset.deny is not None and rules.deny:
        _hand_over(preset.deny, deny, env, session)
    if preset.policy is not None and (rules.allow or rules.deny):
        file = enclosure.files / f"{preset.name}-policy.toml"
        texts[file] = policy_text(preset.policy, allow if rules.allow else None, deny)
        argv = (*argv, preset.policy.word, str(file))
    return Launch(argv, env, texts, session, enclosure.bounds())


def _kinds(preset: Preset, model: str | None) -> tuple[str, ...]:
    """Return the kinds of keys that the agent can use, for one that serves many vendors those of its model's alone."""
    kinds = MODEL_ROUTES.get(preset.name, ())
    if len(kinds) < 3:
        return kinds
    vendor = _VENDORS.get((model or "").split("/")[0], "")
    return tuple(kind for kind in kinds if kind == vendor)


def _model_values(api: ModelApi, model: str | None) -> dict[str, str]:
    dummy = DUMMY if api.kind else ""
    return {
        "model": model or "",
        "provider": (model or "").split("/")[0],
        "model_url": api.url or "",
        "version": "/v1beta" if api.kind == "gemini" else "/v1",
        "key": dummy,
        "anthropic": dummy if api.kind == "anthropic" else "",
        "anthropic-token": dummy if api.kind == "anthropic-token" else "",
    }


def _in_its_words(preset: Preset, settings: AgentSettings, words: Sequence[str]) -> list[str]:
    """Return rules in the agent's own words. The name of a tool that hive does not know stays as it is."""
    tools, servers = preset.tools, list(settings.mcp_servers)
    if tools is None:
        return list(words)
    meant = [tools.meant(word, servers) or ([] if re.search(r"[*()]", word) else [word]) for word in words]
    return list(dict.fromkeys(rule for rules in meant for rule in rules))


def policy_text(policy: Policy, allow: Sequence[str] | None, deny: Sequence[str]) -> str:
    """Return the rules as a policy: what is denied, then what is allowed, then the rest. None: all is allowed."""
    ranked = [(900, _keys(policy, word), "deny") for word in deny]
    if allow is not None:
        ranked += [(700, _keys(policy, word), "allow") for word in allow]
        ranked.append((600, {"toolName": "*"}, policy.rest))
    return "\n".join(_policy_rule(*rule) for rule in ranked)


def _keys(policy: Policy, word: str) -> dict[str, str]:
    match = re.fullmatch(r"([\w-]+)\((.*)\)", word)
    narrowed = match[2].removesuffix("*").rstrip() if match else ""
    return {"toolName": match[1] if match else word} | ({policy.narrowed: narrowed} if narrowed else {})


def _policy_rule(priority: int, keys: Mapping[str, str], decision: str) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**keys, "decision": decision}.items()]
    return "\n".join(["[[rule]]", *lines, f"priority = {priority}", ""])


def write_files(launch: Launch) -> None:
    """Write the files of a start. Raise BadInput if one cannot be written."""
    for path, text in launch.files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, text)
        except OSError as error:
            raise BadInput(f"{path} cannot be written: {error.strerror}", "make room, or mend the folder") from error


def _place(env: dict[str, str], placed: Placed, values: Mapping[str, str]) -> None:
    value = _fill(placed.value, values)
    if not placed.path:
        env[placed.variable] = str(value)
        return
    whole = _read(env.get(placed.variable, ""), placed.variable)
    _put(whole, [_fill(key, values) for key in placed.path], value)
    env[placed.variable] = json.dumps(whole)


def _hand_over(place: Handed, words: Sequence[str], env: dict[str, str], session: Json) -> None:
    rest = {} if place.rest is None else {"*": place.rest}
    value: object = [*words, *place.own]
    if place.each is not None:
        value = {**rest, **dict.fromkeys(words, place.each), **dict.fromkeys(place.own, "allow")}
    if place.where == "session":
        _put(session, place.path, value)
    else:
        whole = _read(env.get(place.variable, ""), place.variable)
        for path in (place.path, *place.also):
            _put(whole, path, value)
        env[place.variable] = json.dumps(whole)


def _read(text: str, variable: str) -> Json:
    try:
        whole = json.loads(text or "{}")
    except (ValueError, RecursionError):
        whole = None
    if not isinstance(whole, dict):
        raise BadInput(
            f"env.{variable} in agent.toml is not a JSON object", "hive adds the model to it: mend or remove it"
        )
    return whole


def _put(whole: Json, path: Sequence[str], value: object) -> None:
    """Set the value at `path`. A table there is added to: what is new stands last, where it counts most."""
    for key in path[:-1]:
        inner = whole.get(key)
        whole[key] = inner = inner if isinstance(inner, dict) else {}
        whole = inner
    old = whole.get(path[-1])
    if isinstance(old, dict) and isinstance(value, dict):
        value = {**{key: one for key, one in old.items() if key not in value}, **value}
    whole[path[-1]] = value


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    """Return `value` with each {name} in its texts replaced."""
    if isinstance(value, dict):
        return {key: _fill(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, values) for part in value]
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace(f"{{{name}}}", text)
    return value
