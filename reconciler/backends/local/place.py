"""The directory that backend `local` keeps for one agent, read through caches."""

from __future__ import annotations

import os
from pathlib import Path

from meta.names import AgentName
from reconciler.backends.records import EXIT, MARKER, RUN, SETTINGS, SPEC, SYSTEM, Cached


class Place:
    """One agent's directory. Each reader costs one stat while nothing changed."""

    def __init__(self, agent: AgentName, folder: Path, owner: str) -> None:
        self.agent = agent
        self.folder = folder
        self._owner = owner
        self._name = str(folder)
        self._marker = Cached(folder / "hive.json", MARKER.validate_json)
        self.settings = Cached(folder / "settings.json", SETTINGS.validate_json)
        self.system = Cached(folder / "system" / "generation.json", SYSTEM.validate_json)
        self.run = Cached(folder / "run.json", RUN.validate_json)
        self.spec = Cached(folder / "spec.json", SPEC.validate_json)
        self.exit = Cached(folder / "exit.json", EXIT.validate_json)

    @property
    def exists(self) -> bool:
        """Whether there is anything of that name, ours or not (a dangling symlink too)."""
        return os.path.lexists(self._name)

    @property
    def ours(self) -> bool:
        """Whether it carries this hive's marker."""
        marker = self._marker.get()
        return marker is not None and marker.owner == self._owner
