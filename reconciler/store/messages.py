"""The broker: durable messages between agents, the manager and the operator.

    waiting --recv--> in flight --ack_turn--> done
       ^                  |
       '-requeue_inflight-'   (redelivered at the next recv)

A message is accepted when `send` returns: it is on disk. It is handed out at least once until it is acked. Of what is
done only the newest is kept: an inbox has bounds in number and in bytes, so that no agent can fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from meta.errors import BadInput, HiveError, TransientError
from meta.names import MANAGER
from reconciler.store import messagerows
from reconciler.store.db import Database
from reconciler.store.messagerows import Delivery, InboxMessage

__all__ = ["OPERATOR", "Broker", "Delivery", "InboxMessage"]

logger = logging.getLogger(__name__)

OPERATOR = "operator"
BODY_LIMIT = 1024 * 1024
"""Bytes of a body in UTF-8."""

INBOX_LIMIT = 1_000
"""Messages that may wait in one inbox before senders are held back."""

INBOX_BYTES = 64 * 2**20
"""Bytes that the messages of one inbox may have together until they are acked (each counts at least 1,024)."""


@dataclass(slots=True)
class _Inbox:
    """What the receivers of one inbox share in this process; the messages themselves are in the database."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    interrupts: int = 0
    putting_back: set[asyncio.Task[None]] = field(default_factory=set)

    def wake(self) -> None:
        """Wake every receiver that waits now."""
        self.changed.set()
        self.changed = asyncio.Event()


class Broker:
    """All inboxes. `known` tells whether an agent of that name exists; `clock` gives Unix seconds.

    The operator's inbox is read with `recent` and emptied with `mark_read`, never with `recv`; its limits are the same.
    """

    def __init__(
        self,
        db: Database,
        known: Callable[[str], bool],
        inbox_limit: int = INBOX_LIMIT,
        body_limit: int = BODY_LIMIT,
        clock: Callable[[], float] = time.time,
        inbox_bytes: int = INBOX_BYTES,
    ) -> None:
        self._db = db
        self._known = known
        self._quota = messagerows.Quota(inbox_limit, inbox_bytes)
        self._body_limit = body_limit
        self._clock = clock
        self._inboxes: dict[str, _Inbox] = {}
        self._closed = False

    async def send(self, sender: str, to: str, body: str) -> int:
        """Put a message into an inbox; returns its id once it is durable.

        Raises BadInput (no such recipient, body too long or no text) and TransientError (inbox full, disk full).
        """
        self._check_recipient(to)
        self._check_body(body)
        now = int(self._clock())
        id = await self._db.write(
            partial(messagerows.insert, sender=sender, recipient=to, body=body, at=now, quota=self._quota)
        )
        if id is None:
            raise TransientError(
                f"the inbox of {to} is full (it takes {self._quota.waiting} messages and {self._quota.size} bytes)",
                f"wait until {to} has read some" + ("" if to == OPERATOR else "; `hive status` shows whether it runs"),
            )
        self._wake(to)
        return id

    async def recv(self, agent: str, wait: float, incarnation: str | None = None) -> Delivery | None:
        """Hand out the oldest waiting message; wait up to `wait` seconds for one, then None.

        A message is handed to one receiver only. A cancelled recv puts back what it had taken. `incarnation`
        says for the record which start of the receiver this is. `interrupt` and `close` end the wait early.
        """
        if agent == OPERATOR:
            raise BadInput("the operator's inbox has no recv", "read it with recent")
        inbox = self._inboxes.setdefault(agent, _Inbox())
        interrupts = inbox.interrupts
        deadline = asyncio.get_running_loop().time() + wait
        while not self._closed:
            changed = inbox.changed  # before looking: what comes after the look sets this very event
            if (delivery := await self._take(agent, inbox, incarnation)) is not None:
                return delivery
            if inbox.interrupts != interrupts:
                return None
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                return None
            if inbox.interrupts != interrupts:
                return None
        return None

    async def unread(self, agent: str) -> int:
        """How many messages wait in the inbox (handed out ones do not count)."""
        return await self._db.read(partial(messagerows.count_waiting, recipient=agent))

    async def unread_all(self) -> dict[str, int]:
        """For each inbox with waiting messages how many there are."""
        return await self._db.read(messagerows.count_all_waiting)

    async def ack_turn(self, agent: str) -> int:
        """Done: every message handed out to `agent` and neither acked nor requeued since. Returns how many."""
        now = int(self._clock())
        return await self._db.write(partial(messagerows.ack, recipient=agent, at=now, quota=self._quota))

    async def requeue_inflight(self, agent: str) -> int:
        """Every message handed out and not acked waits again, in its old place. Returns how many."""
        count = await self._db.write(partial(messagerows.requeue, recipient=agent))
        if count:
            self._wake(agent)
        return count

    async def recent(self, agent: str, limit: int) -> list[InboxMessage]:
        """The newest messages addressed to `agent`, newest first, whatever became of them. Changes nothing.

        At most `limit`, and at most 1 MiB of bodies together.
        """
        return await self._db.read(partial(messagerows.recent, recipient=agent, limit=max(0, limit)))

    async def mark_read(self, up_to: int) -> int:
        """The operator has seen its inbox up to and with this id. Returns how many were new."""
        now = int(self._clock())
        return await self._db.write(
            partial(messagerows.mark_read, recipient=OPERATOR, up_to=up_to, at=now, quota=self._quota)
        )

    async def forget(self, agent: str) -> None:
        """Remove the inbox of a purged agent; its receivers come back empty."""
        await self._db.write(partial(messagerows.delete, recipient=agent))
        self.interrupt(agent)

    def interrupt(self, agent: str) -> None:
        """Every recv that waits for `agent` now comes back empty at once (the agent is being drained)."""
        if inbox := self._inboxes.get(agent):
            inbox.interrupts += 1
            inbox.wake()

    async def close(self) -> None:
        """End every waiting recv, and let messages of cancelled ones get back."""
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.wake()
        if tasks := [task for inbox in self._inboxes.values() for task in inbox.putting_back]:
            await asyncio.wait(tasks)

    async def _take(self, agent: str, inbox: _Inbox, incarnation: str | None) -> Delivery | None:
        """One attempt. The transaction runs to its end even if we are cancelled; what it took then goes back."""
        if inbox.putting_back:  # else a younger message would overtake the one that is on its way back
            await asyncio.wait(inbox.putting_back)
        work = partial(messagerows.take, recipient=agent, at=int(self._clock()), incarnation=incarnation)
        taking = asyncio.ensure_future(self._db.write(work))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._put_back(taking, agent), name=f"put-back {agent}")
            inbox.putting_back.add(task)
            task.add_done_callback(inbox.putting_back.discard)
            raise

    async def _put_back(self, taking: asyncio.Future[Delivery | None], agent: str) -> None:
        try:
            if (delivery := await taking) is not None:
                await self._db.write(partial(messagerows.put_back, id=delivery.id))
                self._wake(agent)
        except HiveError as error:
            # It stays in flight, so requeue_inflight brings it back.
            logger.warning("a message of %s whose receiver left was not put back: %s", agent, error)

    def _wake(self, agent: str) -> None:
        if inbox := self._inboxes.get(agent):
            inbox.wake()

    def _check_recipient(self, to: str) -> None:
        if to not in (OPERATOR, MANAGER) and not self._known(to):
            raise BadInput(
                f"there is no agent {to[:40]!r} to send to", "see `hive list`; a destroyed agent has no inbox"
            )

    def _check_body(self, body: str) -> None:
        try:
            size = len(body.encode())
        except UnicodeEncodeError as error:
            raise BadInput("the body is no valid text: it has a lone surrogate", "send well-formed Unicode") from error
        if size > self._body_limit:
            raise BadInput(
                f"the body has {size} bytes, the limit is {self._body_limit}",
                "put it into a file and send the path, or send it in parts",
            )
