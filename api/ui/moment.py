"""A moment: operations that only read, each asked at most once for all the pages that are rendered of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from api.operations.base import READS, Call, Operation
from api.operations.full_disk import perform
from api.ui.diff.shown import DiffViews

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out")
T = TypeVar("T")


class Kept:
    """What is dear to read, and kept from moment to moment: one value of each kind. Each bounds itself."""

    def __init__(self) -> None:
        self._values: dict[type[Any], Any] = {}

    def of(self, kind: type[T]) -> T:
        """Return the value of this kind. It is made without arguments when it is first asked for."""
        if kind not in self._values:
            self._values[kind] = kind()
        value: T = self._values[kind]
        return value


class Moment:
    """What operations returned at one version of the daemon's changes. `at` is its time in Unix seconds.

    `pages` is how many pages of the dashboard are open.

    Pages that are rendered for one change share their answers, so that a hundred open pages read once. Statuses and the
    attention list are of one look.
    """

    def __init__(self, call: Call, version: int, at: float, kept: Kept, pages: int = 0) -> None:
        self._call = replace(call, look=call.service.status.once())
        self.kept = kept
        self.pages = pages
        self.version = version
        self.at = at
        self._answers: dict[tuple[str, str], asyncio.Future[Any]] = {}

    @property
    def diffs(self) -> DiffViews:
        """The diffs that pages show."""
        return self.kept.of(DiffViews)

    @property
    def revision(self) -> str:
        """The revision of hive, "" if it is unknown."""
        return self._call.service.revision

    async def ask(self, operation: Operation[In, Out], asked: In) -> Out:
        """Return the operation's answer, or raise its error. The operation has to be one that only reads."""
        if operation.effect is not READS:
            raise TypeError(f"{operation.name} changes something: a page only reads")
        key = (operation.name, repr(asked))
        answer = self._answers.get(key)
        if answer is None or answer.cancelled():
            answer = asyncio.ensure_future(perform(self._call, operation, asked))
            answer.add_done_callback(_note_error)
            self._answers[key] = answer
        result: Out = await asyncio.shield(answer)
        return result


def _note_error(answer: asyncio.Future[Any]) -> None:
    """Mark an error as seen: the pages that waited got it, or nobody waits any more."""
    if not answer.cancelled():
        answer.exception()
