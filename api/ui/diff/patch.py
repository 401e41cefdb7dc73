"""Read git's patch into values, and write it from them. Pure; its cost grows with the length of the patch only.

The counts of a hunk say how many lines belong to it, so that no line of a file can look like a line of git's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from api.ui.diff.values import FileDiff, Hunk, Patch
from meta.git.diff import FileChange

_FILE = "diff --git "
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_ESCAPE = re.compile(rb"\\([abtnvfr\"\\]|[0-7]{3})")
_LETTERS = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b'"': 34, b"\\": 92}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MODES = ("old mode ", "new mode ", "new file mode ", "deleted file mode ")


def read_patch(text: str, changes: Iterable[FileChange] = ()) -> Patch:
    """Return the files of git's patch, and those of `changes` that it leaves out. Never raise.

    `changes` know sizes, what is binary, and which files the patch shows as a whole.
    """
    lines = text.split("\n")
    files: list[FileDiff] = []
    at = _next_file(lines, 0)
    rest = lines[:at]
    while at < len(lines):
        file, at = _read_file(lines, at)
        files.append(file)
        after = _next_file(lines, at)
        rest += lines[at:after]
        at = after
    if rest[-1:] == [""]:
        rest.pop()
    return Patch(tuple(_with_changes(files, changes)), tuple(rest))


def write_patch(patch: Patch) -> str:
    """Return the text that the values were read from."""
    lines = [line for file in patch.files for line in (*file.head, *_hunk_lines(file))]
    return "".join(f"{line}\n" for line in (*lines, *patch.rest))


def unquote(name: str) -> str:
    """Return a path that git wrote, without quotes and escapes; bytes that are not UTF-8 as a backslash and digits."""
    quoted = _QUOTED.fullmatch(name)
    if quoted is None:
        return name
    data = _ESCAPE.sub(lambda match: bytes([_byte(match[1])]), quoted[1].encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "backslashreplace")


def _byte(escape: bytes) -> int:
    return _LETTERS[escape] if escape in _LETTERS else int(escape, 8) & 0xFF


def _hunk_lines(file: FileDiff) -> Iterator[str]:
    for hunk in file.hunks:
        yield hunk.head
        yield from hunk.rows


def _next_file(lines: Sequence[str], at: int) -> int:
    return next((here for here in range(at, len(lines)) if lines[here].startswith(_FILE)), len(lines))


@dataclass(slots=True)
class _Head:
    """What the lines before the hunks say."""

    lines: list[str]
    old_path: str = ""
    new_path: str = ""
    modes: dict[str, str] = field(default_factory=dict)
    renamed: bool = False

    def note(self, line: str) -> None:
        """Keep one more line."""
        self.lines.append(line)
        for word in _MODES:
            if line.startswith(word):
                self.modes[word.strip()] = line.removeprefix(word)
        if line.startswith(("rename from ", "--- ")):
            self.old_path = _path(line.removeprefix("rename from ").removeprefix("--- ")) or self.old_path
        if line.startswith(("rename to ", "+++ ")):
            self.new_path = _path(line.removeprefix("rename to ").removeprefix("+++ ")) or self.new_path
        self.renamed = self.renamed or line.startswith("rename from ")
        if line.startswith("index ") and " " in line[6:]:
            self.modes["index"] = line.rsplit(" ", 1)[1]


def _path(name: str) -> str:
    """Return the path of a line `--- a/path`, or of `rename from path`, which has no prefix; "" of /dev/null."""
    plain = unquote(name.removesuffix("\t"))
    return "" if plain == "/dev/null" else plain


def _both(line: str) -> tuple[str, str]:
    """Return both paths of a line `diff --git a/path b/path`. Without a rename they have the same length."""
    names = line.removeprefix(_FILE)
    quoted = _QUOTED.match(names)
    cut = quoted.end() if quoted else (len(names) - 1) // 2
    return unquote(names[:cut]), unquote(names[cut + 1 :])


def _read_file(lines: Sequence[str], at: int) -> tuple[FileDiff, int]:
    old, new = _both(lines[at])
    head = _Head([lines[at]], old, new)
    at += 1
    while at < len(lines) and not lines[at].startswith((_FILE, "@@ ")) and not _is_last(lines, at):
        head.note(lines[at])
        at += 1
    hunks: list[Hunk] = []
    while at < len(lines) and (found := _HUNK.match(lines[at])):
        end = _hunk_end(lines, at + 1, int(found[2] or 1), int(found[4] or 1))
        hunks.append(Hunk(lines[at], int(found[1]), int(found[3]), tuple(lines[at + 1 : end])))
        at = end
    return _file(head, tuple(hunks)), at


def _is_last(lines: Sequence[str], at: int) -> bool:
    """Return True at the empty text behind the last line end, and at hive's own last line of a patch that is cut."""
    return (at == len(lines) - 1 and not lines[at]) or lines[at].startswith("[not whole:")


def _hunk_end(lines: Sequence[str], at: int, old: int, new: int) -> int:
    """Return where a hunk ends that begins at `at` and has `old` and `new` lines of both sides."""
    while at < len(lines) and (old > 0 or new > 0 or lines[at].startswith("\\")):
        kind = lines[at][:1]
        if kind not in ("", " ", "-", "+", "\\") or (kind == "" and at == len(lines) - 1):
            break  # the patch is cut here
        old -= kind in ("", " ", "-")
        new -= kind in ("", " ", "+")
        at += 1
    return at


def _file(head: _Head, hunks: tuple[Hunk, ...]) -> FileDiff:
    status = "renamed" if head.renamed else "changed"
    old_mode = head.modes.get("old mode", head.modes.get("index"))
    new_mode = head.modes.get("new mode", head.modes.get("index"))
    if "new file mode" in head.modes:
        status, old_mode, new_mode = "added", None, head.modes["new file mode"]
    if "deleted file mode" in head.modes:
        status, old_mode, new_mode = "deleted", head.modes["deleted file mode"], None
    old_path, new_path = (path if head.renamed else path[2:] for path in (head.old_path, head.new_path))
    if head.renamed:  # the lines --- and +++ have a prefix, those of the rename do not
        old_path, new_path = (_renamed(head, word) or path for word, path in (("from", old_path), ("to", new_path)))
    rows = [row[:1] for hunk in hunks for row in hunk.rows]
    return FileDiff(
        path=old_path if status == "deleted" else new_path,
        status=status,
        head=tuple(head.lines),
        hunks=hunks,
        old_path=old_path if head.renamed else None,
        old_mode=old_mode,
        new_mode=new_mode,
        added=rows.count("+"),
        removed=rows.count("-"),
    )


def _renamed(head: _Head, word: str) -> str:
    start = f"rename {word} "
    return next((unquote(line.removeprefix(start)) for line in head.lines if line.startswith(start)), "")


def _with_changes(files: Sequence[FileDiff], changes: Iterable[FileChange]) -> Iterator[FileDiff]:
    """Add to each file what its change knows, and the files that the patch leaves out, in the order of their names."""
    known = {change.path: change for change in changes}
    for file in files:
        change = known.get(file.path)
        yield file if change is None else replace(_known(file, change), whole=change.shown)
    there = {file.path for file in files}
    for path, change in sorted(known.items()):
        if path not in there:
            bare = FileDiff(path, change.status, old_path=change.old_path, whole=False)
            yield _known(replace(bare, old_mode=change.old_mode, new_mode=change.new_mode), change)


def _known(file: FileDiff, change: FileChange) -> FileDiff:
    return replace(file, old_size=change.old_size, new_size=change.new_size, binary=bool(change.binary))
