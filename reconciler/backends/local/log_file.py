"""A log that is followed: `log` in a hive-owned folder, which its writer renames to `log.1` when it is full.

A cursor is `<inode>-<offset>`: the file that was read, and how far, always to the end of a line. So a rotation between
two reads loses no line, and an unfinished line is returned once it is complete.

Beside it `log.times` records when each part was written: lines `<inode> <Unix seconds> <offset>`, at most one a second.
The bytes between two of these offsets were written within GRAIN of the first one's time.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BadInput
from reconciler.views import LogPart

PART_BYTES = 256 * 1024
"""Bytes of one answer. The next answer has the rest."""
GRAIN = 1.0
TIMES_BYTES = 64 * 2**20
"""Bytes of the times of a log that are read."""
BACK_BYTES = 4096
"""Bytes that are searched backwards for the beginning of a line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark: the file `inode` was written from `offset` on, at the time `at` or later."""

    inode: int
    at: float
    offset: int


def after(folder: Path, cursor: str | None, lines: int, since: float | None = None) -> LogPart:
    """Return the whole lines after `cursor`.

    Without a cursor, or for that of a deleted log, return the last `lines` lines. With `since`, return only those
    written after that time (to the second), also from `log.1`. Raise BadInput if the log has no times.
    """
    inode, offset = _parse(cursor)
    files = {number: path for path in (folder / "log.1", folder / "log") if (number := _inode(path)) is not None}
    newest = next(reversed(files), None)
    if newest is None:
        return LogPart("", cursor)
    if inode not in files and since is not None:
        return _since(folder, files, lines, since)
    if inode not in files:
        return _last(files[newest], newest, lines)
    text, offset = _whole_lines(files[inode], offset)
    if not text and inode != newest:
        inode, offset = newest, 0
        text, offset = _whole_lines(files[newest], 0)
    return LogPart(text, f"{inode}-{offset}")


def _last(path: Path, inode: int, lines: int) -> LogPart:
    size = path.stat().st_size
    text, offset = _whole_lines(path, max(0, size - PART_BYTES))
    return LogPart("".join(_lines(text)[-lines:]), f"{inode}-{offset}")


def _since(folder: Path, files: dict[int, Path], lines: int, since: float) -> LogPart:
    newest = next(reversed(files))
    marks = [mark for mark in _marks(folder) if mark.inode in files]
    end = files[newest].stat().st_size
    if end and not any(mark.inode == newest for mark in marks):
        raise BadInput(
            "its output has no times yet: it was started by an older hive",
            "`-n 200` shows the last 200 lines; from its next start on there are times",
        )
    older = [index for index, mark in enumerate(marks) if mark.at + GRAIN <= since]
    young = marks[older[-1] + 1 :] if older else marks  # the clock may have been set before
    begin: dict[int, int] = {}
    for mark in young:
        begin.setdefault(mark.inode, mark.offset)
    text, cursor = "", f"{newest}-{end}"
    for inode, path in files.items():
        if inode in begin:
            start = max(_line_start(path, begin[inode]), path.stat().st_size - PART_BYTES)
            more, offset = _whole_lines(path, start)
            text, cursor = text + more, f"{inode}-{offset}"
    return LogPart("".join(_lines(text)[-lines:]), cursor)


def _lines(text: str) -> list[str]:
    """Return the lines with their ends. Only a line feed ends one: an agent writes other separators at will."""
    return [f"{line}\n" for line in text.removesuffix("\n").split("\n")] if text else []


def _marks(folder: Path) -> list[Mark]:
    """Return the marks in the order in which they were written. Lines that a full disk truncated are skipped."""
    marks = []
    for name in ("log.times.1", "log.times"):
        for line in _read(folder / name, 0, TIMES_BYTES).splitlines():
            try:
                inode, at, offset = line.split()
                marks.append(Mark(int(inode), float(at), int(offset)))
            except ValueError:
                continue
    return marks


def _line_start(path: Path, offset: int) -> int:
    """Return the offset at which the line with `offset` begins."""
    back = max(0, offset - BACK_BYTES)
    end = _read(path, back, offset - back).rfind(b"\n")
    return back + end + 1 if end >= 0 or back == 0 else offset


def _read(path: Path, offset: int, size: int) -> bytes:
    """Return up to `size` bytes from `offset`. Return none if there is no regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        file.seek(offset)
        return file.read(size)


def _whole_lines(path: Path, offset: int) -> tuple[str, int]:
    """Return the text from `offset` to the end of the last whole line, and the offset of that end.

    A line that is too long is cut.
    """
    data = _read(path, offset, PART_BYTES)
    end = data.rfind(b"\n") + 1 or (len(data) if len(data) == PART_BYTES else 0)
    return data[:end].decode("utf-8", "replace"), offset + end


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None


def _parse(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return -1, 0
    inode, _, offset = cursor.partition("-")
    if not (inode.isascii() and inode.isdigit() and offset.isascii() and offset.isdigit() and len(cursor) <= 40):
        raise BadInput(f"{cursor[:60]!r} is not a cursor of a log", "send the `cursor` of an earlier answer")
    return int(inode), int(offset)
