"""What backends keep on disk, as validated values, and a reader that parses a file only when a stat says so."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from meta.model import ContainerSettings
from meta.process.identity import ProcessIdentity
from reconciler.plan.observed import Exit, Launch

log = logging.getLogger(__name__)
T = TypeVar("T")
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the supervisor writes it down: pid and start time in clock ticks since boot."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class Run:
    """run.json: one start, with who watches it and who stands for the container."""

    nonce: str
    launch: Launch
    boot: str
    supervisor: Process
    child: Process

    def identity_of(self, process: Process) -> ProcessIdentity:
        """The process so that it cannot be mistaken for a later one."""
        return ProcessIdentity(process.pid, process.start, self.boot)


@dataclass(frozen=True, slots=True)
class Marker:
    """hive.json: this container belongs to the hive with this owner id."""

    owner: str


@dataclass(frozen=True, slots=True)
class WrittenSettings:
    """settings.json. An edited file no longer matches its own fingerprint."""

    settings: ContainerSettings
    fingerprint: str

    @property
    def intact(self) -> bool:
        """Whether nobody edited it."""
        return self.settings.fingerprint() == self.fingerprint

    @staticmethod
    def of(settings: ContainerSettings) -> dict[str, object]:
        """What is written for `settings`."""
        return {"settings": asdict(settings), "fingerprint": settings.fingerprint()}


@dataclass(frozen=True, slots=True)
class BuiltSystem:
    """generation.json, as far as a backend needs it."""

    id: str
    runtime: str


@dataclass(frozen=True, slots=True)
class JoinedGroups:
    """spec.json, as far as it is read again: the cgroup.procs files that the run joined."""

    cgroups: tuple[str, ...] = ()


RUN = TypeAdapter(Run)
EXIT = TypeAdapter(Exit)
MARKER = TypeAdapter(Marker)
SETTINGS = TypeAdapter(WrittenSettings)
SPEC = TypeAdapter(JoinedGroups)
SYSTEM = TypeAdapter(BuiltSystem)


def stamp(path: str | Path) -> Stamp | None:
    """What changes whenever a file is replaced or written; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a pathlib object costs more than the call
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Cached(Generic[T]):
    """One file, parsed again only when its stamp changed. Missing or not valid: None."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self.path = path
        self._name = str(path)
        self._parse = parse
        self._stamp: Stamp | None = None
        self._value: T | None = None

    def get(self) -> T | None:
        """The value now."""
        now = stamp(self._name)
        if now != self._stamp:
            self._value = None if now is None else self._load()
            self._stamp = now
        return self._value

    def _load(self) -> T | None:
        try:
            return self._parse(self.path.read_bytes())
        except OSError:
            return None
        except ValidationError as error:
            log.warning("%s is not valid and counts as missing: %s", self.path, error.errors()[0]["msg"])
            return None
