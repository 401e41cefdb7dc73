"""A log that is followed: `log` in a hive-owned folder, which its writer renames to `log.1` when it is full.

A cursor is `<inode>-<offset>`: the file that was read, and how far, always to the end of a line. So a rotation between
two looks loses nothing, and a line that is not finished yet waits for its end.
"""

from __future__ import annotations

import os
from pathlib import Path

from meta.errors import BadInput
from reconciler.views import LogPart

PART_BYTES = 256 * 1024
"""Of one answer; what is longer comes with the next one."""


def after(folder: Path, cursor: str | None, lines: int) -> LogPart:
    """The whole lines after `cursor`, or the last `lines` lines for None or a cursor of a log that is gone."""
    inode, offset = _parse(cursor)
    files = {number: path for path in (folder / "log.1", folder / "log") if (number := _inode(path)) is not None}
    newest = next(reversed(files), None)
    if newest is None:
        return LogPart("", cursor)
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
    return LogPart("".join(text.splitlines(keepends=True)[-lines:]), f"{inode}-{offset}")


def _whole_lines(path: Path, offset: int) -> tuple[str, int]:
    """What stands between `offset` and the last line's end, and where that is; a line too long for one part is cut."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return "", offset
    with os.fdopen(fd, "rb") as file:
        file.seek(offset)
        data = file.read(PART_BYTES)
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
        raise BadInput(f"{cursor[:60]!r} is no place in a log", "send the `cursor` of an earlier answer")
    return int(inode), int(offset)
