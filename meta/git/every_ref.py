"""Every ref of a repo, read without git, also of a repo that hive does not trust: no link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from meta import own_file
from meta.errors import Damaged
from meta.git.files import packed, unreadable
from meta.names import Sha

MOST = 100_000
"""Refs that are read, at most."""
_DEPTH = 20
_LINK = "ref: "
_HEX = frozenset("0123456789abcdef")


def every_ref(git_dir: Path) -> dict[str, Sha]:
    """Return every ref below refs/ by its full name. A symbolic ref has the value of its target, or is left out.

    Raise Damaged for what git would not read as a ref, TransientError without a descriptor.
    """
    for folder in (git_dir, git_dir / "refs"):
        if folder.is_symlink():
            raise Damaged(folder, "it is a link, not a folder")
    direct: dict[str, Sha] = {}
    links: dict[str, str] = {}
    for number, (name, text) in enumerate(_loose(git_dir, "refs", 0)):
        if number >= MOST:
            raise Damaged(git_dir / "refs", f"it has more than {MOST} refs")
        if text.startswith(_LINK):
            links[name] = text.removeprefix(_LINK).strip()
        else:
            direct[name] = _value(git_dir / name, text)
    refs = dict(packed(git_dir / "packed-refs"))
    refs.update(direct)
    return refs | {name: refs[target] for name, target in links.items() if target in refs}


def _loose(git_dir: Path, folder: str, depth: int) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(git_dir / folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(git_dir / folder, error) from error
    for entry in entries:
        name = f"{folder}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if depth >= _DEPTH:
                raise Damaged(git_dir / name, f"it lies more than {_DEPTH} folders deep")
            yield from _loose(git_dir, name, depth + 1)
        elif not entry.name.endswith(".lock"):
            yield name, _text(git_dir / name)


def _text(path: Path) -> str:
    try:
        return own_file.read(path, 4096).decode("utf-8", "replace")
    except OSError as error:
        raise unreadable(path, error) from error


def _value(path: Path, text: str) -> Sha:
    name = text.removesuffix("\n")
    if len(name) != 40 or not _HEX.issuperset(name):
        raise Damaged(path, "it names no object" if text.strip() else "it is empty")
    return Sha(name)
