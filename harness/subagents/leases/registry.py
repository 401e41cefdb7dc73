"""`spawned_pods.json`: the sub-agents that a pod knows, so that it finds those that live after its own restart.

Being recorded here says neither that a pod can be reached nor that it has a scope: a probe of its socket and the
allocation table say that. The whole file is replaced at each change.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter
from pydantic_core import from_json

from harness.events.database import Unavailable, set_aside
from harness.subagents.leases.table import TABLE_LIMIT, check_name, check_socket
from meta import own_file
from meta.errors import BadInput, Damaged, HiveError, NotFound, Refused
from meta.process.disk import disk_error
from meta.scope.rules import Rule
from meta.text import one_line
from meta.wire.common import Wire
from meta.wire.pod import Lax, ScopeRule

log = logging.getLogger(__name__)

FILE_NAME = "spawned_pods.json"
FILE_LIMIT = 1024 * 1024
"""Bytes of the file, at most."""
DROPPED_MOST = 20
"""Dropped records that are reported one by one."""


class SpawnedPod(Wire):
    """One sub-agent: its socket, the scope that it was given, and the socket of the pod that it reports to."""

    pod_name: str
    socket_path: str
    scope_delegated: Annotated[tuple[ScopeRule, ...], Lax]
    callback_address: str


_RECORD: TypeAdapter[SpawnedPod] = TypeAdapter(SpawnedPod)


class Registry:
    """The sub-agents of `path`, in the order in which they were added. For one thread at a time.

    What cannot be read is dropped, reported in `dropped` and logged; a file that is no list at all is set aside. The
    constructor raises nothing for any content of the file.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self.dropped: list[str] = []
        self._pods: dict[str, SpawnedPod] = {}
        for item in self._load(int(clock())):
            self._take(item)
        for reason in self.dropped:
            log.warning("%s: %s", path, reason)

    @property
    def pods(self) -> tuple[SpawnedPod, ...]:
        """Return the records."""
        return tuple(self._pods.values())

    def get(self, pod: str) -> SpawnedPod:
        """Return the record of a pod. Raise NotFound."""
        if pod not in self._pods:
            raise NotFound(f"there is no sub-agent {pod[:60]!r}", "`list_pods` names those that there are")
        return self._pods[pod]

    def add(self, record: SpawnedPod) -> None:
        """Write a record, in place of one with the same name. Raise BadInput, or the HiveError of the disk.

        After an error nothing is changed: a pod that is not recorded is not started.
        """
        check_record(record)
        if len(self._pods) >= TABLE_LIMIT and record.pod_name not in self._pods:
            raise Refused(f"there are {TABLE_LIMIT} sub-agents", "stop one that is not needed")
        self._replace({**self._pods, record.pod_name: record})

    def remove(self, pod: str) -> None:
        """Remove a record; harmless if there is none. Raise the HiveError of the disk, and keep it then."""
        if pod in self._pods:
            self._replace({name: record for name, record in self._pods.items() if name != pod})

    def _replace(self, pods: dict[str, SpawnedPod]) -> None:
        text = json.dumps([record.model_dump(mode="json") for record in pods.values()], indent=1)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            own_file.write(self._path, f"{text}\n".encode(), mode=0o600)
        except OSError as error:
            raise disk_error(f"{self._path} cannot be written", error) from error
        self._pods = pods

    def _load(self, seconds: int) -> list[object]:
        try:
            items = from_json(own_file.read(self._path, FILE_LIMIT))
            if not isinstance(items, list):
                raise ValueError("it is no list")
            return items
        except FileNotFoundError:
            return []
        except OSError as error:
            self.dropped.append(f"it cannot be read, so no sub-agent is known: {error.strerror}")
        except (ValueError, Damaged) as error:
            self.dropped.append(f"it is set aside, so no sub-agent is known: {one_line(str(error))}")
            try:
                set_aside(self._path, seconds)
            except Unavailable as another:
                self.dropped.append(f"it cannot be set aside: {another}")
        return []

    def _take(self, item: object) -> None:
        try:
            record = _RECORD.validate_python(item)
            check_record(record)
            if record.pod_name in self._pods or len(self._pods) >= TABLE_LIMIT:
                raise BadInput(f"{record.pod_name} is there already, or there are too many")
        except (ValueError, HiveError) as error:
            if len(self.dropped) < DROPPED_MOST:
                self.dropped.append(f"a record is dropped: {one_line(str(error))}")
            return
        self._pods[record.pod_name] = record


def check_record(record: SpawnedPod) -> SpawnedPod:
    """Return a record whose name, sockets and targets are in the form that hive writes. Raise BadInput."""
    check_name(record.pod_name)
    check_socket(record.socket_path)
    check_socket(record.callback_address)
    for rule in record.scope_delegated:
        Rule(rule.target, rule.permission, rule.recursive)
    return record
