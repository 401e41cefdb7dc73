"""How an agent is started: its words, its environment, and the files that it reads then. Pure but for `write_files`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.runtimes.acp.table import Denied, Placed, Preset
from harness.runtimes.base import RuntimeSpec
from harness.runtimes.start_files import write_private
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
    files: dict[Path, Json] = {}
    session: Json = {}
    denied = settings.permissions.deny
    if preset.deny is not None and denied:
        _hand_over(preset.deny, denied, env, files, session, enclosure.files / f"{preset.name}.json")
    texts = {path: json.dumps(value) for path, value in files.items()}
    return Launch(argv, env, texts | ({prompt: spec.prompt} if prompt else {}), session)


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


def _hand_over(
    place: Denied, words: Sequence[str], env: dict[str, str], files: dict[Path, Json], session: Json, file: Path
) -> None:
    value = list(words) if place.each is None else dict.fromkeys(words, place.each)
    if place.where == "session":
        _put(session, place.path, value)
    elif place.where == "file":
        env[place.variable] = str(file)
        _put(files.setdefault(file, {}), place.path, value)
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
