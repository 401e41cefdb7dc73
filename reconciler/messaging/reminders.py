"""Reminders: messages that an agent sends to its own inbox for later (docs/reference/questions.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.names import MANAGER, OPERATOR
from meta.text import one_line
from meta.wire.common import At, InSeconds
from meta.wire.limits import REMINDER_BYTES
from reconciler.messaging import reminder_files
from reconciler.messaging.reminder_files import NotWritable
from reconciler.messaging.ticker import FAR, seconds_from
from reconciler.store import reminders
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.reminders import Reminder

__all__ = ["Reminder", "Reminders"]

INBOX_BYTES = 4096
"""Bytes of a text that the inbox takes. A longer text goes into a file."""
MOST = 200
"""Waiting reminders of one owner: at most this many."""
LISTED_MOST = 300
LISTED_BYTES = 4096
"""Bytes of one text in a list: at most this many."""
_SHOWN = 100
"""Characters of a text in a file that the message in the inbox quotes."""
_BATCH = 50


class Reminders:
    """The reminders of one hive.

    `known` returns True for the name of an agent. `state` returns the path of its /state on the host. `wake` wakes the
    receivers of an inbox; `clock` gives Unix seconds.
    """

    def __init__(
        self,
        db: Database,
        *,
        known: Callable[[str], bool],
        state: Callable[[str], Path],
        wake: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._known = known
        self._state = state
        self._wake = wake
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []

    def on_new(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there is a new reminder."""
        self._listeners.append(listener)

    async def remind(self, owner: str, message: str, timing: InSeconds | At, file_path: str | None) -> int:
        """Remind `owner` of `message`, after some seconds or at a time. Return the reminder's id.

        A time in the past means at once. A text over 4,096 bytes, or any text with `file_path`, goes into a file below
        /state/reminders/; then the inbox gets the path of that file. Raise BadInput (text, path), Conflict (too many
        wait; the file exists already), Refused.
        """
        return (await self.put(owner, message, timing, file_path))[0]

    async def put(self, owner: str, message: str, timing: InSeconds | At, file_path: str | None) -> tuple[int, int]:
        """Add a reminder as `remind` does. Return its id, and its due time in Unix seconds."""
        self._check_owner(owner)
        size = _size(message)
        now = self._clock()
        due = seconds_from(now, timing.seconds) if isinstance(timing, InSeconds) else _bounded(timing.unix_timestamp)
        parts = None if file_path is None else reminder_files.parts_of(file_path)
        if parts is None and size <= INBOX_BYTES:
            return await self._insert(owner, message, due, int(now)), due
        if await self.count(owner) >= MOST:
            raise _too_many(owner)
        return await self._with_file(owner, message, due, int(now), parts), due

    async def _with_file(self, owner: str, message: str, due: int, now: int, parts: tuple[str, ...] | None) -> int:
        if owner == OPERATOR:
            if parts is not None:
                raise Refused("the operator has no /state", "leave out file_path")
            return await self._insert(owner, message, due, now)
        state = self._state(owner)
        try:
            written = await asyncio.to_thread(reminder_files.write, state, parts, message, now)
        except NotWritable as error:
            if parts is not None:
                raise
            raise Refused(
                f"the reminder has {len(message.encode())} bytes: more than {INBOX_BYTES} is not possible here, "
                "because hive cannot write files below /state",
                "write a file and remind yourself of its path",
            ) from error
        try:
            return await self._insert(owner, _pointer(written, message), due, now)
        except BaseException:
            reminder_files.remove(state, written)
            raise

    async def _insert(self, owner: str, message: str, due: int, now: int) -> int:
        self._check_owner(owner)  # again: the agent may have been destroyed while its file was written
        id = await self._db.write(
            partial(reminders.insert, owner=owner, message=message, due_at=due, at=now, most=MOST)
        )
        if id is None:
            raise _too_many(owner)
        for listener in self._listeners:
            listener()
        return id

    async def count(self, owner: str) -> int:
        """Return how many reminders of `owner` wait."""
        return await self._db.read(partial(reminders.count, owner=owner))

    async def of(self, owner: str | None) -> list[Reminder]:
        """Return the newest LISTED_MOST waiting reminders of `owner` (None: of all), newest first.

        Texts over LISTED_BYTES are cut, with an ellipsis.
        """
        return await self._db.read(partial(reminders.listed, owner=owner, most=LISTED_MOST, text_bytes=LISTED_BYTES))

    async def cancel(self, id: int, by: str) -> None:
        """Remove a reminder, for its owner, the manager or the operator. Raise NotFound, Refused."""

        def work(connection: Transaction) -> None:
            reminder = reminders.get(connection, id)
            if reminder is None:
                raise NotFound(f"there is no reminder {id}", "it was delivered or cancelled; see the loose ends")
            if by not in (reminder.owner, MANAGER, OPERATOR):
                raise Refused(f"reminder {id} does not belong to {by}", "only its owner may cancel it")
            reminders.delete(connection, id)

        await self._db.write(work)

    async def fire_due(self, now: float | None = None) -> int:
        """Deliver every due reminder, in the transaction that removes it. Return how many."""
        at, count, more = int(self._clock() if now is None else now), 0, True
        while more:
            owners, more = await self._db.write(partial(reminders.fire, at=at, limit=_BATCH))
            count += len(owners)
            for owner in set(owners):
                self._wake(owner)
        return count

    async def do_due(self) -> int | None:
        """Deliver every due reminder. Return when the next one is due."""
        now = self._clock()
        await self.fire_due(now)
        return await self._db.read(partial(reminders.next_due, after=int(now)))

    async def forget(self, agent: str) -> None:
        """Remove the reminders of an agent that is destroyed."""
        await self._db.write(partial(reminders.delete_of, owner=agent))

    def _check_owner(self, owner: str) -> None:
        if owner not in (OPERATOR, MANAGER) and not self._known(owner):
            raise NotFound(f"there is no agent {owner[:40]!r}", "see `hive list`")


def _bounded(seconds: int) -> int:
    return max(-FAR, min(FAR, seconds))


def _size(message: str) -> int:
    if not message.strip():
        raise BadInput("the reminder is empty", "give the text to be reminded of")
    try:
        size = len(message.encode())
    except UnicodeEncodeError as error:
        raise BadInput("the reminder is not valid text: it has a lone surrogate", "send well-formed Unicode") from error
    if size > REMINDER_BYTES:
        raise BadInput(
            f"the reminder has {size} bytes, the limit is {REMINDER_BYTES}", "write a file and name its path"
        )
    return size


def _pointer(parts: tuple[str, ...], message: str) -> str:
    where = "/".join((reminder_files.INSIDE, *parts))
    size = len(message.encode())
    return f"The text of this reminder ({size} bytes) is in {where}\nIt begins: {one_line(message, _SHOWN)}"


def _too_many(owner: str) -> Conflict:
    return Conflict(f"{owner} has {MOST} reminders waiting, which is the limit", "cancel some first")
