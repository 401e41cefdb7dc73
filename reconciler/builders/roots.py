"""The generation of each id, as small files: hive's own gc roots.

    roots/<agent>/<id>.json   the generation as JSON; while it exists, the generation is never pruned

Written atomically. Read again only if the directory's stat changed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from meta import own_file
from meta.errors import Damaged
from meta.layout import Layout
from meta.model import Generation
from meta.names import AgentName, ProposalId
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from reconciler.common.files import write_json

log = logging.getLogger(__name__)
_GENERATION = TypeAdapter(Generation)
_SETTLED_NS = 50_000_000
"""Nanoseconds.

A directory that changed more recently may change again within the same clock tick, so it is not cached.
"""


@dataclass(slots=True)
class _Cache:
    stamp: tuple[int, int] | None = None
    records: Mapping[ProposalId, Generation] = field(default_factory=dict)


class Roots:
    """The roots of all agents of one hive."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._caches: dict[AgentName, _Cache] = {}
        self._names: dict[AgentName, str] = {}

    def write(self, agent: AgentName, id: ProposalId, generation: Generation) -> None:
        """Write the root of `generation` for `id`. Raise TransientError or PermanentError if the disk fails."""
        record = {**asdict(generation), "system": str(generation.system)}
        try:
            self._layout.roots(agent).mkdir(parents=True, exist_ok=True)
            write_json(self._layout.root(agent, id), record)
        except OSError as error:
            raise disk_error(f"cannot root generation {generation.id} of {agent}", error) from error
        self._caches.pop(agent, None)

    def read(self, agent: AgentName) -> Mapping[ProposalId, Generation]:
        """Return every root as recorded, even if its generation no longer exists."""
        name = self._names.get(agent) or self._names.setdefault(agent, str(self._layout.roots(agent)))
        try:
            status = os.stat(name)  # noqa: PTH116 - a pathlib object costs more than the call
        except OSError:
            self._caches.pop(agent, None)
            return MappingProxyType({})
        stamp = (status.st_ino, status.st_mtime_ns)
        cache = self._caches.get(agent)
        if cache is not None and cache.stamp == stamp:
            return cache.records
        settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
        cache = _Cache(stamp if settled else None, MappingProxyType(self._load(Path(name))))
        self._caches[agent] = cache
        return cache.records

    def drop(self, agent: AgentName, keep: frozenset[ProposalId]) -> None:
        """Remove every root but those of the ids in `keep`."""
        dropped = [id for id in self.read(agent) if id not in keep]
        for id in dropped:
            self._layout.root(agent, id).unlink(missing_ok=True)
        if dropped:
            sync_folder(self._layout.roots(agent))
            self._caches.pop(agent, None)

    def forget(self, agent: AgentName) -> None:
        """Remove all roots of an agent."""
        self.drop(agent, frozenset())
        self._caches.pop(agent, None)

    def _load(self, directory: Path) -> dict[ProposalId, Generation]:
        records = {}
        for path in directory.glob("*.json"):
            if not path.stem.isdecimal():
                continue
            try:
                records[ProposalId(int(path.stem))] = _GENERATION.validate_json(own_file.read(path))
            except FileNotFoundError:
                continue
            except Damaged as error:
                log.warning("%s, so that what it names is built again", error.summary)
            except OSError as error:
                log.warning("%s cannot be read, so that what it names is built again: %s", path, error.strerror)
            except ValidationError as error:
                log.warning("%s is not valid and counts as missing: %s", path, error.errors()[0]["msg"])
        return records
