"""A backup of the hive that a daemon runs."""

from __future__ import annotations

import time
from pathlib import Path

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from reconciler.upkeep.backups.write import Origin, Wanted, write


class LiveBackup:
    """The backup command. `revision` is that of the daemon. `made_at`: the last one of this daemon, or None."""

    def __init__(self, layout: Layout, config: Config, meta: MetaRepo, revision: str) -> None:
        self.made_at: float | None = None
        self._layout = layout
        self._config = config
        self._meta = meta
        self._revision = revision

    async def __call__(self, name: str, wanted: Wanted) -> Path:
        """Write a consistent backup as the file `name` in hive's scratch. The caller takes it away."""
        target = self._layout.scratch / name
        await write(self._layout, target, wanted, Origin(self._config, "daemon", self._revision), self._meta.lock)
        self.made_at = time.time()
        return target
