"""A diff as the template shows it: files, blocks, folds, and the words beside them. Pure.

What a page shows at once is bounded; the rest stands behind folds that load when they are opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from api.ui.diff.blocks import Changed, Same, Tokens, blocks
from api.ui.diff.lines import Row, numbered, visible
from api.ui.diff.source import INLINE, Source
from api.ui.diff.values import FileDiff, Hunk, Patch
from api.ui.diff.words import Work
from api.ui.numbers import plural
from meta.text import size

FILE_MOST = 400
"""Changed lines of a file up to which it is shown at once."""

DIFF_MOST = 1_000
"""Rows of all files of a diff that are shown at once. Files beyond are folded."""

FILES_MOST = 100
"""Files that one answer names."""

PAGE_ROWS = 1_000
"""Rows of one file that one answer shows."""

CONTEXT = 3
"""Unchanged lines shown around a change, as git does."""

_MODES = {"100644": "plain file", "100755": "executable", "120000": "symbolic link", "160000": "submodule"}
_STATUS = {"added": "new", "deleted": "deleted", "renamed": "renamed"}


@dataclass(frozen=True, slots=True)
class Fold:
    """What is folded. `words` say what it is; `parts` is its content, or `href` where that comes from when opened."""

    id: str
    words: str
    href: str = ""
    parts: tuple[Same | Changed | Fold, ...] = ()


@dataclass(frozen=True, slots=True)
class FileView:
    """One file as it is shown. `tags` are facts beside its name, `note` says in words why there is nothing below.

    `one_sided`: all lines are new or gone, so that two columns would be half empty.
    """

    id: str
    path: str
    old_path: str
    tags: tuple[str, ...]
    added: int
    removed: int
    parts: tuple[Same | Changed | Fold, ...]
    note: str = ""
    one_sided: bool = False


def diff_view(
    patch: Patch,
    key: str,
    source: Source | None = None,
    tokens: Mapping[str, Tokens] | None = None,
    most: int = DIFF_MOST,
) -> tuple[FileView, ...]:
    """Return the files of a patch. `key` begins the ids of all their parts: it names the commits, and what shows them.

    Without a `source` nothing is loaded later, and what is too long is left out with a word. `tokens` are by path.
    """
    known, at_once, work = tokens or {}, set(map(id, shown_at_once(patch, most))), Work()
    return tuple(
        file_view(file, key, source, known.get(file.path), folded=id(file) not in at_once, work=work)
        for file in patch.files
    )


def files_page(patch: Patch, at: int = 0) -> Patch:
    """Return `FILES_MOST` files of a patch from the place `at` on."""
    return Patch(patch.files[at : at + FILES_MOST], patch.rest)


def more_files(patch: Patch, source: Source | None, at: int = 0) -> Fold | None:
    """Return what loads the files behind the page at `at`; None if there are none."""
    end = at + FILES_MOST
    if end >= len(patch.files):
        return None
    key = source.key if source else "more"
    words = plural(len(patch.files) - end, "more file")
    return Fold(f"{key}-files-{end}", words, source.files(end) if source else "")


def shown_at_once(patch: Patch, most: int = DIFF_MOST) -> tuple[FileDiff, ...]:
    """Return the files that are not folded: those of few changed lines, up to `most` rows of all of them."""
    files, room = [], most
    for file in patch.files:
        rows = file.rows
        if rows <= room and not file.binary and file.added + file.removed <= FILE_MOST:
            room -= rows
            files.append(file)
    return tuple(files)


def file_view(
    file: FileDiff,
    key: str,
    source: Source | None = None,
    tokens: Tokens | None = None,
    *,
    folded: bool = False,
    work: Work | None = None,
) -> FileView:
    """Return one file, with its lines or folded. `work` is what the answer may still compare."""
    id = file_id(key, file)
    one_sided = file.status in ("added", "deleted")
    if source is not None and one_sided:
        source = replace(source, layout=INLINE)
    if not file.hunks and file.whole:
        parts: tuple[Same | Changed | Fold, ...] = ()
    elif folded or not file.hunks:
        href = source.file(file, id, 0) if source else ""
        at_once = file.hunks and source is None  # nothing can be loaded later
        inside = page(file, id, None, tokens, work=work) if at_once else ()
        parts = (Fold(f"{id}-all", _folded_words(file, source), href, inside),)
    else:
        parts = page(file, id, source, tokens, work=work)
    return FileView(
        id=id,
        path=visible(file.path),
        old_path=visible(file.old_path or ""),
        tags=_tags(file),
        added=file.added,
        removed=file.removed,
        parts=parts,
        note=_note(file),
        one_sided=one_sided,
    )


def file_id(key: str, file: FileDiff) -> str:
    """Return the id of a file's part of a page. It holds nothing of the path itself, which is an agent's.

    A file that becomes a symbolic link is in a patch twice: deleted, and added.
    """
    name = hashlib.sha256(file.path.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{key}-{name}{'-gone' if file.status == 'deleted' else ''}"


def page(
    file: FileDiff,
    id: str,
    source: Source | None = None,
    tokens: Tokens | None = None,
    at: int = 0,
    work: Work | None = None,
) -> tuple[Same | Changed | Fold, ...]:
    """Return `PAGE_ROWS` rows of a file from its row `at` on, with folds for what did not change and for the rest."""
    work = work or Work()
    parts: list[Same | Changed | Fold] = []
    place, end = 0, at + PAGE_ROWS
    behind = (1, 1)
    for hunk in file.hunks:
        first, last = max(at - place, 0), min(end - place, len(hunk.rows))
        if first < last:
            if first == 0 and file.status in ("changed", "renamed"):
                parts += _between(file, id, source, behind, (hunk.old, hunk.new))
            parts += _hunk(hunk, first, last, id, tokens or {}, work)
        behind = _behind(hunk, len(hunk.rows))
        place += len(hunk.rows)
    if end < place or not file.whole:
        rest = f"{place - end:,} more rows" if end < place else "The rest of this file is not in this patch"
        next_at = min(end, place)
        parts.append(
            Fold(
                f"{id}-rows-{next_at}",
                rest,
                source.file(file, id, next_at) if source else "",
            )
        )
    elif source is not None and _goes_on(file):
        href = source.lines(file.path, id, behind[0], behind[1], 0)
        parts.append(Fold(f"{id}-{behind[1]}", "Further unchanged lines", href))
    return tuple(parts)


def _between(
    file: FileDiff, id: str, source: Source | None, behind: tuple[int, int], start: tuple[int, int]
) -> Iterator[Fold]:
    """Yield the fold for the lines between the hunk that ends before `behind` and the one that begins at `start`."""
    missing = start[1] - behind[1]
    if missing > 0 and source is not None:
        href = source.lines(file.path, id, behind[0], behind[1], missing)
        yield Fold(f"{id}-{behind[1]}", plural(missing, "unchanged line"), href)
    elif missing > 0:
        yield Fold(f"{id}-{behind[1]}", plural(missing, "unchanged line"))


def _hunk(hunk: Hunk, first: int, last: int, id: str, tokens: Tokens, work: Work) -> Iterator[Same | Changed | Fold]:
    old, new = _behind(hunk, first)
    last += hunk.rows[last : last + 1] != () and hunk.rows[last].startswith("\\")
    rows: list[Row] = list(numbered(hunk.rows[first:last], old, new))
    inside = list(blocks(rows, tokens, work))
    for at, block in enumerate(inside):
        if isinstance(block, Same):
            yield from _shortened(block, f"{id}-{first}-{at}", before=at > 0, after=at < len(inside) - 1)
        else:
            yield block


def _shortened(block: Same, id: str, *, before: bool, after: bool) -> Iterator[Same | Fold]:
    """Fold the middle of many unchanged lines: git leaves them out, a call of an agent's tool does not."""
    lines = block.lines
    first, last = CONTEXT * before, len(lines) - CONTEXT * after
    if last - first <= CONTEXT or not (before or after):
        yield block
        return
    if first:
        yield Same(lines[:first])
    yield Fold(id, plural(last - first, "unchanged line"), parts=(Same(lines[first:last]),))
    if last < len(lines):
        yield Same(lines[last:])


def _behind(hunk: Hunk, rows: int) -> tuple[int, int]:
    """Return the numbers of the next lines on both sides after the first `rows` rows of a hunk."""
    signs = [row[:1] for row in hunk.rows[:rows]]
    same = len(signs) - signs.count("+") - signs.count("-") - signs.count("\\")
    return (hunk.old or 1) + same + signs.count("-"), (hunk.new or 1) + same + signs.count("+")


def _goes_on(file: FileDiff) -> bool:
    """Return True if lines may follow the last hunk: git then shows as many as it may behind the last change."""
    last = file.hunks[-1].rows[-CONTEXT:] if file.hunks else ()
    return len(last) == CONTEXT and all(row[:1] in ("", " ") for row in last)


def _folded_words(file: FileDiff, source: Source | None) -> str:
    if not file.hunks:
        sizes = " → ".join(size(number) for number in (file.old_size, file.new_size) if number is not None)
        return f"Not in this patch{f', {sizes}' if sizes else ''}{'; open to compare it alone' if source else ''}"
    return f"{plural(file.added + file.removed, 'changed line')}{' of a binary file' if file.binary else ''}"


def _tags(file: FileDiff) -> tuple[str, ...]:
    old, new = (None if mode is None else _MODES.get(mode, mode) for mode in (file.old_mode, file.new_mode))
    tags = [_STATUS.get(file.status, ""), "binary" if file.binary else ""]
    if old and new and old != new:
        tags.append(f"{old} → {new}")
    elif (new or old) not in (None, "plain file"):
        tags.append(new or old or "")
    return tuple(filter(None, tags))


def _note(file: FileDiff) -> str:
    if file.hunks or not file.whole:
        return ""
    if file.status in ("added", "deleted"):
        return "The file is empty."
    if file.old_mode != file.new_mode:
        return "Only its mode changes."
    return "Only its name changes." if file.old_path else "Nothing that git shows changes in it."
