"""The operator's settings for the way out, as the daemon asks for them: each answer is of the file of now."""

from __future__ import annotations

from pathlib import Path

from meta.config import Config
from meta.layout import Layout
from meta.network.operator_file import OperatorFile
from meta.network.operator_watch import OperatorWatch
from meta.network.rule import Rule


class OperatorSettings:
    """The operator's file and HIVE_NETWORK_CEILING."""

    def __init__(self, path: Path, ceiling: str = "", *, may_miss: bool = True) -> None:
        """Take the path and the text of the ceiling. `may_miss`: without the file there is nothing in it."""
        self._watch = OperatorWatch(path, ceiling, may_miss=may_miss)

    @classmethod
    def of(cls, layout: Layout, config: Config) -> OperatorSettings:
        """Return those of a daemon."""
        if config.network_file:
            return cls(Path(config.network_file), config.network_ceiling, may_miss=False)
        return cls(layout.network_file, config.network_ceiling)

    @property
    def path(self) -> Path:
        """The path of the operator's file."""
        return self._watch.path

    def file(self) -> OperatorFile:
        """Return the content of the file, or of its last good version."""
        self._watch.reload()
        return self._watch.file

    def ceiling(self) -> tuple[Rule, ...] | None:
        """Return the rules beyond which no agent.toml may reach, None if there are none."""
        self._watch.reload()
        return self._watch.ceiling

    def revision(self) -> int:
        """Return a number that grows when another good version of the file is read."""
        self._watch.reload()
        return self._watch.revision

    @property
    def problem(self) -> str:
        """What is wrong with the file or the ceiling, with the remedy; "" if nothing is."""
        self._watch.reload()
        return self._watch.problem
