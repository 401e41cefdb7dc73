"""Pack what hive wrote as single files in one of its own repos: objects, and the refs of tags.

Each id leaves about eight such files in an applied repo, and each deploy four in meta. Nothing else packs them: git's
own `gc` is off, because `git prune-packed` would remove an object that only the pack of a waiting id has as well.

    pack       git packs exactly these objects into one, in scratch
    install    the new pack is renamed into the repo, durably: each object is there twice
    remove     the files go, unless the repo is being read: then the next call removes them
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

from meta.applied.merged_packs import pack_objects
from meta.applied.states import FOLDERS
from meta.git import packs
from meta.git.config import own_environment
from meta.layout import Layout
from meta.process.run import run

MOST_LOOSE = 2_000
"""Objects, or tags, in files of their own from which on they are packed."""
YOUNG = 3_600.0
"""Seconds for which an object stays a file of its own: no ref may name it yet."""
_DEADLINE = 120.0
_FOLDERS = 256
_FOLDER, _NAME = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{38}")


async def pack_loose(git_dir: Path, layout: Layout) -> int:
    """Pack objects and tags, if there are more than MOST_LOOSE of them. Return how many objects are no files now.

    Raise PermanentError or TransientError if git or the disk fails; nothing is lost then.
    """
    if await asyncio.to_thread(_tags, git_dir) > MOST_LOOSE:
        command = ["git", f"--git-dir={git_dir}", "pack-refs", "--prune"]
        await run(command, deadline=_DEADLINE, env=own_environment(git_dir))
    names = await asyncio.to_thread(_loose, git_dir, time.time() - YOUNG)
    if len(names) <= MOST_LOOSE:
        return 0
    await pack_objects(git_dir, names, layout)
    removed = await asyncio.to_thread(packs.remove_loose, git_dir, names, (layout.applied_repos,))
    return len(names) if removed else 0


def _tags(git_dir: Path) -> int:
    return sum(len(_listing(git_dir / folder)) for folder in FOLDERS)


def _loose(git_dir: Path, before: float) -> frozenset[str]:
    """Return the names of the loose objects from before that time; none if one of the 256 folders shows too few."""
    objects = git_dir / "objects"
    if len(_listing(objects / "17")) * _FOLDERS <= MOST_LOOSE:
        return frozenset()
    names = set()
    for folder in _listing(objects):
        if _FOLDER.fullmatch(folder):
            for name in _listing(objects / folder):
                if _NAME.fullmatch(name) and (objects / folder / name).lstat().st_mtime < before:
                    names.add(folder + name)
    return frozenset(names)


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []
