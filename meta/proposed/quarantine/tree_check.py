"""Check the tree of a proposed commit outside the event loop, within bounds.

up to SMALL bytes   in a thread: the checks are linear in these bytes, so that is some milliseconds
larger              in a process of its own, under a deadline and limits of its memory and its processor time
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import meta
from meta.errors import PermanentError, Refused
from meta.names import Sha
from meta.process.recorder import Recorder
from meta.process.run import Completed, Streams, run
from meta.proposed.quarantine.tree import TreeLimits
from meta.proposed.quarantine.tree_program import REFUSED, Question

SMALL = 64 * 1024
"""Bytes of git's output that are checked in a thread. That is some hundred files."""

_HIVE = str(Path(meta.__file__).parents[1])
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    "from meta.proposed.quarantine.tree_program import main; sys.exit(main())"
)
_SECONDS = 10
"""Seconds of a processor. A tree as large as the limits allow takes less than one."""
_MEMORY, _TIMES = 192 * 2**20, 16
"""Bytes of memory, and more for each byte of git's output: of that HIVE_MAX_FILES sets the limit."""


@dataclass(frozen=True, slots=True)
class TreeCheck:
    """The checks of one tree. `deadline` is in seconds, for each process."""

    listing: bytes
    deadline: float
    recorder: Recorder | None

    async def links(self, limits: TreeLimits, base_tree: bytes | None) -> tuple[Sha, ...]:
        """Return the blobs of the symlinks. Raise Refused as `tree.check_listing` does, and for what takes too long."""
        answer = await self._ask(Question(self.listing, limits, base_tree))
        return tuple(map(Sha, answer))

    async def targets(self, contents: bytes) -> None:
        """Check the targets of the symlinks. Raise Refused as `tree.check_targets` does."""
        await self._ask(Question(self.listing, targets=contents))

    async def _ask(self, question: Question) -> tuple[str, ...]:
        size = len(question.listing) + len(question.base_tree or b"") + len(question.targets)
        if size <= SMALL:
            return await asyncio.to_thread(question.answer)
        limits = {
            resource.RLIMIT_AS: _MEMORY + _TIMES * size,
            resource.RLIMIT_CPU: _SECONDS,
            resource.RLIMIT_CORE: 0,
        }
        done = await run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, _HIVE],
            deadline=self.deadline,
            recorder=self.recorder,
            limits=limits,
            streams=Streams(stdin=question.encode(), output_limit=2**16 + size),
            check=False,
        )
        return _answer(done)


def _answer(done: Completed) -> tuple[str, ...]:
    if done.code == 0:
        return tuple(done.text.split())
    if done.code == REFUSED:
        error = json.loads(done.stdout)
        raise Refused(error["summary"], error["hint"])
    if done.code < 0 or "MemoryError" in done.stderr_tail:
        raise Refused(
            "the tree of the commit takes too long or too much memory to check", "commit fewer, shorter paths"
        )
    raise PermanentError(f"the tree of the commit cannot be checked: {done.stderr_tail.strip()[-300:]}", "report this")
