"""Merge the packs of ended ids of an applied repo: git looks for an object in each pack, so thousands make it slow.

    pack       git packs exactly the objects of these packs into one, in scratch
    install    the new pack is renamed into the repo, durably: each object is there twice
    remove     the packs of the ids go, unless the repo is being read: then the next call removes them

Nothing is lost by a kill in between: what the first two steps left is a repo with objects twice, and the next call
removes the packs whose objects a merged one has. Ids that wait, are denied or are on their way keep their own packs.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path

from meta.errors import PermanentError
from meta.git import packs
from meta.git.config import own_environment
from meta.layout import Layout
from meta.names import ProposalId
from meta.process.disk import disk_error
from meta.process.run import Streams, run
from meta.proposed.push_objects import index_ids
from meta.proposed.push_repack import NewPack

MOST_PACKS = 50
"""Packs of ended ids from which on they are merged."""
MOST_MERGED = 10
"""Merged packs from which on these are merged as well."""
_DEADLINE = 120.0
_COMMAND = ("-c", "pack.threads=1", "-c", "pack.writeReverseIndex=false", "pack-objects", "--delta-base-offset", "-q")


async def merge(git_dir: Path, ended: Set[ProposalId], layout: Layout) -> int:
    """Merge the packs of the `ended` ids, if there are more than MOST_PACKS. Return how many packs are gone.

    Raise PermanentError or TransientError if git or the disk fails; no object is lost then.
    """
    ids = sorted(packs.ids(git_dir) & ended)
    if len(ids) <= MOST_PACKS:
        return 0
    old = [packs.path_of(git_dir, id) for id in ids]
    merged = packs.merged(git_dir)
    held = await asyncio.to_thread(_names, merged)
    brought = await asyncio.to_thread(_names, old)
    old = [path for path in old if path in brought]
    covered = frozenset().union(*held.values())
    wanted = frozenset().union(*brought.values())
    if len(merged) > MOST_MERGED:
        old, wanted, covered = [*old, *held], wanted | covered, frozenset()
    if not wanted <= covered:
        new = await pack_objects(git_dir, wanted, layout)
        old = [path for path in old if path.name != new]
    return await asyncio.to_thread(_remove, git_dir, old, (layout.applied_repos,))


def _names(paths: Collection[Path]) -> Mapping[Path, frozenset[str]]:
    """Return the names of the objects in each pack. One whose index cannot be read is left out, and stays."""
    names = {}
    for path in paths:
        try:
            names[path] = index_ids(path.with_suffix(".idx"))
        except (OSError, ValueError):
            continue
    return names


async def pack_objects(git_dir: Path, names: Collection[str], layout: Layout) -> str:
    """Install one pack with these objects; return the name of its file."""
    scratch = layout.scratch / f"merge-{secrets.token_hex(4)}"
    try:
        scratch.mkdir(mode=0o700, parents=True)
        done = await run(
            ["git", f"--git-dir={git_dir}", *_COMMAND, str(scratch / "new")],
            deadline=_DEADLINE,
            env=own_environment(git_dir),
            streams=Streams(stdin="".join(f"{name}\n" for name in sorted(names)).encode()),
        )
        name = done.text.strip()
        pack = scratch / f"new-{name}.pack"
        if await asyncio.to_thread(index_ids, pack.with_suffix(".idx")) != names:
            raise PermanentError(f"git did not pack what hive named in {git_dir}", "see `git fsck` there")
        new = NewPack(pack, pack.with_suffix(".idx"), f"pack-{name}")
        await asyncio.to_thread(new.install, git_dir)
    except OSError as error:
        raise disk_error(f"cannot merge the packs of {git_dir}", error) from error
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    return f"pack-{name}.pack"


def _remove(git_dir: Path, paths: Sequence[Path], shared: Sequence[Path]) -> int:
    removed = 0
    for path in paths:
        if not packs.remove_pack(git_dir, path, shared):
            break
        removed += 1
    return removed
