"""The keys of the routes: one file each, read again when it changes.

No error and no problem has a key in it, or a part of one. What the agent reads does not name the file either.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Damaged
from meta.network.routes import Route
from meta.network.verdict import Verdict
from reconciler.egress.ports import Denied

KEY_LIMIT = 16_384
"""Bytes of a key's file. Tokens of a cloud's identity service have a few thousand."""

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    version: _Version
    key: str = ""
    problem: str = ""


class Keys:
    """The keys of files. `credentials` is systemd's directory of them, whose modes are systemd's business."""

    def __init__(self, credentials: Path | None = None) -> None:
        self._credentials = credentials
        self._kept: dict[str, _Kept] = {}

    def key(self, route: Route) -> str:
        """Return the key of now. Raise Denied if the file has none that may be used."""
        kept = self._read(route.file)
        if kept.problem:
            raise Denied(Verdict.NO_KEY, f"the-key-of-{route.name}-cannot-be-used (the operator sees why: hive doctor)")
        return kept.key

    def problem(self, route: Route) -> str:
        """Return what is wrong with the file of the key, and the remedy; "" if nothing is."""
        return self._read(route.file).problem

    def _read(self, file: str) -> _Kept:
        """Return the file's content, from memory if it did not change. A link is the operator's own choice."""
        try:
            version = _version(os.stat(file))  # noqa: PTH116 - once per request
            kept = self._kept.get(file)
            if kept is None or kept.version != version:
                kept = self._kept[file] = self._load(file)
        except OSError as error:
            self._kept.pop(file, None)
            return _Kept((), problem=f"{file}: {error.strerror or 'it cannot be read'}; make it readable for its user")
        return kept

    def _load(self, file: str) -> _Kept:
        descriptor = os.open(file, _FLAGS)
        try:
            status = os.fstat(descriptor)
            version = _version(status)
            if problem := self._fault(file, status):
                return _Kept(version, problem=problem)
            content = os.read(descriptor, KEY_LIMIT + 1)
        finally:
            os.close(descriptor)
        try:
            return _Kept(version, _key(file, content))
        except Damaged as error:
            return _Kept(version, problem=error.describe())

    def _fault(self, file: str, status: os.stat_result) -> str:
        if not stat.S_ISREG(status.st_mode):
            return f"{file}: it is not a regular file"
        if self._credentials is not None and self._credentials in Path(file).parents:
            return ""
        if status.st_uid not in (0, os.geteuid()):
            return f"{file}: it belongs to uid {status.st_uid}; chown it to uid {os.geteuid()} or root"
        if status.st_mode & _OTHERS:
            return f"{file}: others may read or change it, mode {stat.S_IMODE(status.st_mode):04o}; chmod 0600"
        return ""


def _version(status: os.stat_result) -> _Version:
    return (
        *(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
        *(status.st_uid, status.st_mode),
    )


def _key(file: str, content: bytes) -> str:
    """Return the key of a file's content: one line of printable ASCII. Raise Damaged."""
    remedy = "write the key alone into it, on one line"
    if len(content) > KEY_LIMIT:
        raise Damaged(file, f"it is longer than {KEY_LIMIT} bytes", remedy)
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not line.strip():
        raise Damaged(file, "it is empty", remedy)
    if not all(0x20 <= byte < 0x7F for byte in line):
        raise Damaged(file, "it is not one line of ASCII", remedy)
    return line.decode("ascii").strip()
