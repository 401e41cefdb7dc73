"""How an agent is started: its words, its environment, and the files that it reads then. Pure but for `write_files`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.runtimes.acp.table import Handed, Placed, Policy, Preset
from harness.runtimes.base import RuntimeSpec
from harness.runtimes.start_files import write_private
from meta.agent_toml.settings import Permissions
from meta.errors import BadInput

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Launch:
    """A start. `files` are written before it, `session` is added to the parameters of each session."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[Path, str]
    session: Mapping[str, Any]


def launch_of(preset: Preset, spec: RuntimeSpec, model: str | None) -> Launch:
    """Return the start of an agent with a model. Raise BadInput if agent.toml lacks what it needs."""
    settings, enclosure = spec.settings, spec.enclosure
    argv = (*(settings.command or (preset.program,)), *preset.words)
    prompt = enclosure.files / f"{preset.name}-prompt.md" if preset.system_prompt == "file" and spec.prompt else None
    values = {
        "model": model or "",
        "provider": (model or "").split("/")[0],
        "model_url": enclosure.model_url or "",
        "prompt_file": str(prompt or ""),
    }
    if preset.needs_model and not model:
        raise BadInput(
            f"{preset.name} has no model, and would use a hosted one of its maker",
            "set `model` in agent.toml, or `hive model AGENT NAME`",
        )
    env = {**preset.env, **enclosure.env, **settings.env, "HOME": str(enclosure.home)}
    for placed in preset.placed:
        if values[placed.needs]:
            _place(env, placed, values)
    texts: dict[Path, str] = {prompt: spec.prompt} if prompt else {}
    session: Json = {}
    rules = settings.permissions
    for place, words in ((preset.allow, rules.allow), (preset.deny, rules.deny)):
        if place is not None and words:
            _hand_over(place, words, env, session)
    if preset.policy is not None and (rules.allow or rules.deny):
        file = enclosure.files / f"{preset.name}-policy.toml"
        texts[file] = policy_text(preset.policy, rules)
        argv = (*argv, preset.policy.word, str(file))
    return Launch(argv, env, texts, session)


def policy_text(policy: Policy, rules: Permissions) -> str:
    """Return the rules as a policy: what is denied, then what is allowed, then the rest."""
    ranked = [(900, _keys(policy, word), "deny") for word in rules.deny]
    if rules.allow:
        ranked += [(700, _keys(policy, word), "allow") for word in rules.allow]
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
    words = [*words, *([place.own] if place.own else [])]
    value = words if place.each is None else dict.fromkeys(words, place.each)
    if isinstance(value, dict) and place.rest is not None:
        value = {"*": place.rest, **value}
    if place.where == "session":
        _put(session, place.path, value)
    else:
        whole = _read(env.get(place.variable, ""), place.variable)
        _put(whole, place.path, value)
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
    """Set the value at `path`. A table there is added to."""
    for key in path[:-1]:
        inner = whole.get(key)
        whole[key] = inner = inner if isinstance(inner, dict) else {}
        whole = inner
    old = whole.get(path[-1])
    whole[path[-1]] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value


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
