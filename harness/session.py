"""What the harness remembers in /state: the conversation of each runtime, and the configuration that the agent knows.

So a rebuild, a restart, a rollback or a crash resumes the same conversation, and the agent is told what changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import state_file
from meta.agent_toml.changes import describe_changes

SESSION_FILE = "hyperhive-session.json"
SESSION_LIMIT = 200
"""Characters of the name of a conversation."""
KEYS = 500
"""Settings that are remembered, at most."""
VALUE_LIMIT = 4_000
"""Characters of a value that are remembered. Of a longer one there is a hash, too."""

_NAME = re.compile(r"[\x21-\x7e]+")


class Session:
    """The remembered state of one agent. `runtime` is the runtime that runs now."""

    def __init__(self, state: Path, runtime: str) -> None:
        self._path = state / SESSION_FILE
        self._runtime = runtime
        self._data = self._load()

    @property
    def id(self) -> str | None:
        """Return the conversation to resume with this runtime."""
        id: str | None = self._data["sessions"].get(self._runtime)
        return id

    def keep(self, id: str | None) -> None:
        """Remember the conversation, or with None begin anew with the next turn."""
        sessions = self._data["sessions"]
        if id is not None and not _is_name(id):
            return
        if sessions.get(self._runtime) != id:
            sessions.pop(self._runtime, None)
            if id is not None:
                sessions[self._runtime] = id
            self._save()

    def changes(self, generation: str, settings: Mapping[str, str]) -> list[str]:
        """Return what changed in the configuration since the agent was last told, in words. Empty: nothing.

        The agent can write the file: what cannot be described is named.
        """
        before, old = self._data["generation"], self._data["settings"]
        if before is None or before == generation:
            return []
        new = _kept(settings)
        try:
            texts = describe_changes(old, new)
        except (ValueError, TypeError, RecursionError):
            texts = [f"{key} changed" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        return texts or [f"a new generation runs ({generation[:12]}); agent.toml is as before"]

    def remember(self, generation: str, settings: Mapping[str, str]) -> None:
        """Remember that the agent knows this configuration."""
        kept = _kept(settings)
        if (self._data["generation"], self._data["settings"]) != (generation, kept):
            self._data |= {"generation": generation, "settings": kept}
            self._save()

    def _load(self) -> dict[str, Any]:
        """Return the content of the file. The agent may have written it: what is not as expected is dropped."""
        text = state_file.read(self._path)
        try:
            data = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            data = {}
        data = data if isinstance(data, dict) else {}
        generation = data.get("generation")
        return {
            "sessions": {key: id for key, id in _texts(data.get("sessions")).items() if _is_name(id)},
            "generation": generation if isinstance(generation, str) else None,
            "settings": _texts(data.get("settings")),
        }

    def _save(self) -> None:
        state_file.write(self._path, json.dumps(self._data, indent=1))


def _is_name(id: str) -> bool:
    return len(id) <= SESSION_LIMIT and _NAME.fullmatch(id) is not None and not id.startswith("-")


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    texts = {key: text for key, text in value.items() if isinstance(key, str) and isinstance(text, str)}
    return dict(list(texts.items())[:KEYS])


def _kept(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings as they are remembered."""
    return {key: _value(settings[key]) for key in sorted(settings)[:KEYS]}


def _value(value: str) -> str:
    if len(value) > VALUE_LIMIT:
        return value[:VALUE_LIMIT] + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:16]
    return value
