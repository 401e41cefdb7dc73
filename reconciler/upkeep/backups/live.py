"""A backup of the hive that a daemon runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from reconciler.upkeep.backups.write import Origin, Wanted, write


@dataclass(frozen=True, slots=True)
class LiveBackup:
    """The backup command. `revision` is that of the daemon."""

    layout: Layout
    config: Config
    meta: MetaRepo
    revision: str

    async def __call__(self, name: str, wanted: Wanted) -> Path:
        """Write a consistent backup as the file `name` in hive's scratch. The caller takes it away."""
        target = self.layout.scratch / name
        await write(self.layout, target, wanted, Origin(self.config, "daemon", self.revision), self.meta.lock)
        return target
