"""The model of the next turn: the operator's override in /state, else agent.toml's, else the runtime's default.

Only the operator's verb writes the file. Where the container has one uid for all, the agent can write it, too.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness import state_file
from meta.errors import BadInput

MODEL_FILE = "hyperhive-model"
NAME_LIMIT = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]+-]*")


def check_model(name: str) -> str:
    """Return the name without spaces around it. Raise BadInput if it cannot be the name of a model."""
    name = name.strip()
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:40]!r} is not a name of a model",
            f"give letters, digits and . _ : / @ [ ] + -, at most {NAME_LIMIT}, as the runtime documents them",
        )
    return name


class Model:
    """The model, with its override. A write that fails is a warning: the override holds until the harness ends."""

    def __init__(self, path: Path, approved: str | None) -> None:
        self._path = path
        self._approved = approved
        self.override = self._load()

    @property
    def name(self) -> str | None:
        """Return the model of the next turn; None is the runtime's default."""
        return self.override or self._approved

    def set(self, name: str) -> str | None:
        """Set the override, or with "" remove it. Return None, or a warning. Raise BadInput for a wrong name."""
        self.override = check_model(name) if name.strip() else ""
        if self.override:
            return state_file.write(self._path, f"{self.override}\n")
        return state_file.remove(self._path)

    def _load(self) -> str:
        text = (state_file.read(self._path, 4 * NAME_LIMIT) or "").strip()
        try:
            return check_model(text) if text else ""
        except BadInput:
            return ""
