"""Endless tasks that are watched, because a task that is never awaited would otherwise end in silence.

The first task of `Background` that ends without being stopped is logged, and `ended` is set. `hive serve` then ends and
systemd starts it again. Agents keep running. A task that goes on after an error counts it in its `Rounds`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass

from reconciler.common.rounds import Rounds, describe

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """A background task that ended, and why: one line without secrets."""

    task: str
    error: str


class Background:
    """The daemon's endless tasks. `failure` is the first that ended by itself. `ended` is set from then on."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.failure: Ended | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._expected: set[asyncio.Task[None]] = set()
        self._rounds: dict[str, Rounds] = {}

    def start(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start `work`. It must not end before `stop` or `release` is called with its task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def rounds(self, name: str) -> Rounds:
        """Return the rounds of a task that goes on after an error."""
        return self._rounds.setdefault(name, Rounds(name))

    def troubles(self) -> tuple[tuple[str, str], ...]:
        """Return the task that ended, and each whose last round failed, with what an operator should know of it."""
        failure = self.failure
        ended: tuple[tuple[str, str], ...] = ()
        if failure is not None:
            text = f"background task {failure.task} ended ({failure.error}): the daemon stops, and agents run on"
            ended = ((failure.task, text),)
        failing = ((rounds.task, note) for rounds in self._rounds.values() for note in rounds.notes())
        return (*ended, *failing)

    def release(self, task: asyncio.Task[None]) -> None:
        """Accept from now on that `task` ends, because its owner has asked it to."""
        if task in self._tasks:
            self._expected.add(task)

    async def stop(self, *tasks: asyncio.Task[None]) -> None:
        """Cancel `tasks` and wait until they have ended, with an error or not."""
        for task in tasks:
            self.release(task)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = (
            None if task.cancelled() else task.exception()
        )  # read in any case: asyncio logs an exception that is never read
        if task in self._expected:
            self._expected.discard(task)
            return
        why = _described(error, cancelled=task.cancelled())
        log.critical("background task %s ended: %s", task.get_name(), why, exc_info=error)
        if self.failure is None:
            self.failure = Ended(task.get_name(), why)
        self.ended.set()


async def run_together(works: Mapping[str, Coroutine[None, None, None]]) -> None:
    """Run endless `works` (by name) until one of them ends, then cancel the others and raise its error.

    Raise RuntimeError if it returned.
    """
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    first = next(task for task in tasks if task in done)
    first.result()
    raise RuntimeError(f"{first.get_name()} returned, and is not meant to")


def _described(error: BaseException | None, *, cancelled: bool) -> str:
    if error is None:
        return "it was cancelled" if cancelled else "it returned"
    return describe(error)
