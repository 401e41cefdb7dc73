"""Write the objects that a push repo keeps of some packs to one new pack.

`git pack-objects` reads the repo in the sandbox and writes to a pipe of hive's; hive indexes the pack in scratch and
renames it into the repo.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
from collections.abc import AsyncIterator, Set
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.errors import PermanentError
from meta.layout import Layout
from meta.names import AgentName
from meta.process.recorder import Recorder
from meta.process.run import Streams, run
from meta.proposed.push_objects import index_ids, most_bytes
from meta.proposed.quarantine.foreign import inspect, limits, reader
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT

_WORDS = ("pack-objects", "--stdout", "-q", "--delta-base-offset")
_INDEX = ("git", "-c", "pack.threads=1", "-c", "pack.writeReverseIndex=false", "index-pack")
_OBJECT_MODE = 0o444


@dataclass(frozen=True, slots=True)
class NewPack:
    """A pack in scratch, with its index."""

    pack: Path
    index: Path
    name: str

    def install(self, repo: Path) -> None:
        """Rename the pack into the repo, durably; git sees it once its index is there. OSError."""
        folder = os.open(repo / "objects/pack", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for path, end in ((self.pack, "pack"), (self.index, "idx")):
                path.chmod(_OBJECT_MODE)
                _sync(path)
                os.rename(path, f"{self.name}.{end}", dst_dir_fd=folder)
                os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.asynccontextmanager
async def repacked(
    layout: Layout, agent: AgentName, kept: Set[str], config: Config, recorder: Recorder | None
) -> AsyncIterator[NewPack | None]:
    """Yield a new pack with exactly the objects `kept`; None if there are none. What is not installed is removed.

    Raise PermanentError or TransientError, or OSError on a full disk.
    """
    if not kept:
        yield None
        return
    scratch = layout.scratch / f"prune-{agent}-{secrets.token_hex(4)}"
    scratch.mkdir(mode=0o700, parents=True)
    try:
        await _pack(layout, agent, kept, scratch, config, recorder)
        yield await _index(scratch, kept, config, recorder)
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)


async def _pack(
    layout: Layout, agent: AgentName, kept: Set[str], scratch: Path, config: Config, recorder: Recorder | None
) -> None:
    """Write the pack, of at most the bytes that a push repo may have."""
    source = reader(inspect(layout.push_repo(agent)), layout.state)
    (scratch / "ids").write_text("".join(f"{id}\n" for id in sorted(kept)), encoding="ascii")
    with (scratch / "ids").open("rb") as ids, (scratch / "new.pack").open("wb") as pack:
        await run(
            source.command(_WORDS),
            deadline=config.fetch_deadline,
            recorder=recorder,
            limits={**limits(config.fetch_deadline), resource.RLIMIT_FSIZE: most_bytes(config)},
            streams=Streams(stdio=(ids.fileno(), pack.fileno())),
        )


async def _index(scratch: Path, kept: Set[str], config: Config, recorder: Recorder | None) -> NewPack:
    pack, index = scratch / "new.pack", scratch / "new.idx"
    done = await run(
        [*_INDEX, "-o", index, pack],
        deadline=config.fetch_deadline,
        recorder=recorder,
        cwd=scratch,
        env={**GIT_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(scratch.parent)},
        limits=limits(config.fetch_deadline),
    )
    if index_ids(index) != kept:
        raise PermanentError("git did not pack the objects that hive named", "see `git fsck` in the push repo")
    return NewPack(pack, index, f"pack-{done.text.strip()}")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
