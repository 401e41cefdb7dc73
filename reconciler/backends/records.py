"""Records of backends on disk, as validated values. A reader parses a file only if its stat changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from meta import own_file
from meta.errors import Damaged
from meta.model import ContainerSettings
from meta.process.disk import raise_if_no_descriptor
from reconciler.plan.observed import Exit

log = logging.getLogger(__name__)
T = TypeVar("T")
Stamp = tuple[int, int, int]
UNREADABLE: Stamp = (-1, -1, -1)


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
        """True unless the file was edited."""
        return self.settings.fingerprint() == self.fingerprint

    @staticmethod
    def of(settings: ContainerSettings) -> dict[str, object]:
        """Return the record to write for `settings`."""
        return {"settings": asdict(settings), "fingerprint": settings.fingerprint()}


EXIT = TypeAdapter(Exit)
MARKER = TypeAdapter(Marker)
SETTINGS = TypeAdapter(WrittenSettings)


def stamp(path: str | Path, *, follow: bool = True) -> Stamp | None:
    """Return a stamp that changes whenever a file is replaced or written; None if the file does not exist."""
    try:
        status = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - a pathlib object costs more than the call
    except FileNotFoundError:
        return None
    except OSError:
        return UNREADABLE
    return status.st_ino, status.st_mtime_ns, status.st_size


class Cached(Generic[T]):
    """One file, parsed again only if its stamp changed. A missing or invalid file is None.

    With `follow` it may be a link to a file. After `get`, `damage` is what is wrong with a file that exists and is
    None.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], *, follow: bool = False) -> None:
        self.path = path
        self._name = str(path)
        self._parse = parse
        self._follow = follow
        self._stamp: Stamp | None = None
        self._value: T | None = None
        self.damage = ""
        self._logged = ""

    def get(self) -> T | None:
        """Return the present value. Raise TransientError if there is no descriptor left to read it with."""
        now = stamp(self._name, follow=self._follow)
        if now != self._stamp or self.damage:  # what cannot be read changes without a new stamp
            self.damage = ""
            self._value = None if now is None else self._load()
            self._stamp = now
        return self._value

    def _load(self) -> T | None:
        try:
            return self._parse(own_file.read(self._name, follow=self._follow))
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._note(error.summary)
        except OSError as error:
            raise_if_no_descriptor(f"cannot read {self.path}", error)
            self._note(f"{self.path} is damaged: it cannot be read ({error.strerror})")
        except ValidationError as error:
            self._note(f"{self.path} is damaged: {error.errors()[0]['msg']}")
        return None

    def _note(self, damage: str) -> None:
        self.damage = damage
        if damage != self._logged:
            log.warning("%s", damage)
        self._logged = damage
