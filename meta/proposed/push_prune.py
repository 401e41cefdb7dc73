"""Remove from a push repo what no ref of it reaches, so that a branch that is gone gives its disk back.

A running push is safe from it: git keeps what it receives in a folder of its own until it is complete, nothing younger
than EXPIRE is removed, and nothing is while a process works in the repo or if a ref moved meanwhile. Only reading is
left to git (`git rev-list`, in the sandbox, read-only, in a repo that is as hive made it); hive removes the files.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from meta.config import Config
from meta.errors import PermanentError
from meta.git.in_use import in_use
from meta.layout import Layout
from meta.names import AgentName
from meta.process.disk import raise_if_no_descriptor
from meta.process.recorder import Recorder
from meta.process.run import Streams, run
from meta.proposed import push_objects, push_repo
from meta.proposed.push_objects import ObjectFile, Removed
from meta.proposed.push_repack import NewPack, repacked
from meta.proposed.quarantine.foreign import inspect, limits, reader

EXPIRE = 7200.0
"""Seconds that an object stays without a ref."""
_LIST_BYTES = 64 * 2**20
"""Bytes of the list of reachable objects, 41 each. A repo with more is not pruned, only reported for its size."""
_SLICE = 41 * 1024
"""Bytes of that list that are read at a time: whole lines, each an id and its end."""
_MOST_REFS = 100_000
_WORDS = ("rev-list", "--objects", "--no-object-names", "--all")


@dataclass(frozen=True, slots=True)
class Pruned:
    """The state of a push repo after a look: the bytes of its objects, what was removed, and what the look read.

    While `state` is the same, another look finds nothing else to remove.
    """

    size: int = 0
    removed: Removed = field(default_factory=Removed)
    state: str = ""


async def prune(
    layout: Layout, agent: AgentName, config: Config, now: float, state: str = "", recorder: Recorder | None = None
) -> Pruned | None:
    """Remove the objects that no ref reaches. `state` is that of the last look; None if a push is under way or the repo
    is not as hive made it.

    Raise PermanentError or TransientError if git cannot list what the refs reach: nothing is removed then.
    """
    repo = layout.push_repo(agent)
    try:
        return await _prune(layout, agent, config, now, state, recorder)
    except OSError as error:
        raise_if_no_descriptor(f"{repo} is not pruned yet", error)
        raise PermanentError(f"{repo} cannot be pruned: {error.strerror}", "see `hive doctor`") from error


async def _prune(
    layout: Layout, agent: AgentName, config: Config, now: float, state: str, recorder: Recorder | None
) -> Pruned | None:
    repo = layout.push_repo(agent)
    if not await asyncio.to_thread(is_prunable, layout, agent):
        return None
    files = await asyncio.to_thread(push_objects.read, repo)
    size, old = sum(each.size for each in files), push_objects.old(files, now - EXPIRE)
    refs = await asyncio.to_thread(refs_state, repo)
    seen = hashlib.blake2b(repr((refs, old)).encode(), digest_size=16).hexdigest()
    if not old or refs is None or seen == state:
        return Pruned(size, state=seen)
    reached = await _reached(layout, agent, config, recorder)
    dead = await asyncio.to_thread(partial(push_objects.dead, repo, old, reached))
    if not dead.files:
        return Pruned(size, state=seen)
    async with repacked(layout, agent, dead.kept, config, recorder) as new:
        if await asyncio.to_thread(in_use, repo) or await asyncio.to_thread(refs_state, repo) != refs:
            return None
        removed = await asyncio.to_thread(_replace, repo, dead.files, new)
    return Pruned(size - removed.size, removed)


def _replace(repo: Path, dead: tuple[ObjectFile, ...], new: NewPack | None) -> Removed:
    if new is not None:
        new.install(repo)
        dead = tuple(each for each in dead if not each.name.startswith(new.name))
    return push_objects.remove(repo, dead)


def is_prunable(layout: Layout, agent: AgentName) -> bool:
    """Return True if the agent has a push repo that is as hive made it."""
    return push_repo.present(layout, agent) and push_repo.fault(layout, agent) is None


async def _reached(layout: Layout, agent: AgentName, config: Config, recorder: Recorder | None) -> frozenset[str]:
    """Return the ids of all objects that the refs reach. A ref that cannot be read is an error, not passed over."""
    source = reader(inspect(layout.push_repo(agent)), layout.state)
    done = await run(
        source.command(_WORDS, {"GIT_REF_PARANOIA": "1"}),
        deadline=config.fetch_deadline,
        recorder=recorder,
        limits=limits(config.fetch_deadline),
        streams=Streams(output_limit=_LIST_BYTES),
    )
    return await asyncio.to_thread(_ids, done.stdout)


def _ids(output: bytes) -> frozenset[str]:
    """Return the ids in git's list, slice by slice: one call for all would keep every other thread waiting."""
    ids: set[str] = set()
    for at in range(0, len(output), _SLICE):
        ids.update(output[at : at + _SLICE].decode("ascii").split())
    return frozenset(ids)


def refs_state(repo: Path) -> str | None:
    """Return a text that changes with each ref of the repo; None if it has too many. OSError."""
    seen = []
    for folder, folders, names, descriptor in os.fwalk(repo / "refs", follow_symlinks=False):
        folders.sort()
        for name in sorted(names):
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            seen.append((folder, name, status.st_ino, status.st_mtime_ns, status.st_size))
        if len(seen) > _MOST_REFS:
            return None
    for name in ("HEAD", "packed-refs"):
        if os.path.lexists(repo / name):
            status = (repo / name).lstat()
            seen.append((name, "", status.st_ino, status.st_mtime_ns, status.st_size))
    return hashlib.blake2b(repr(seen).encode(), digest_size=16).hexdigest()
