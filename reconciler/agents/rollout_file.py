"""The last rollout, on disk. A daemon that starts continues the rollout of one that died.

STATE/rollout.json     replaced as a whole before each of its changes is carried out
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from meta import own_file
from meta.errors import Damaged
from meta.names import AgentName
from meta.process.disk import disk_error
from reconciler.common.files import write_json
from reconciler.plan.rollout import Rollout

log = logging.getLogger(__name__)
_ROLLOUT = TypeAdapter(Rollout)


class RolloutFile:
    """The file of one daemon. `current` is the last rollout, even if it is over; None before the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._current = self._load()

    @property
    def current(self) -> Rollout | None:
        """The last rollout; None before the first."""
        return self._current

    def holds(self, agent: AgentName | None) -> bool:
        """Return True while the rollout still has work for `agent` (None: for any)."""
        return self._current is not None and self._current.holds(agent)

    async def keep(self, rollout: Rollout) -> None:
        """Replace the file, then `current`. Raise TransientError or PermanentError if the disk cannot be written."""
        value = {**asdict(rollout), "begun": dict(rollout.begun)}
        try:
            await asyncio.to_thread(write_json, self._path, value)
        except OSError as error:
            raise disk_error(f"cannot write {self._path}", error) from error
        self._current = rollout

    def _load(self) -> Rollout | None:
        try:
            return _ROLLOUT.validate_json(own_file.read(self._path))
        except FileNotFoundError:
            return None
        except (OSError, Damaged, ValidationError) as error:
            log.error("%s cannot be read, so its rollout is not continued: %s", self._path, error)
            return None
