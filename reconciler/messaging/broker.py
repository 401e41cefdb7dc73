"""The broker: durable messages between agents, the manager and the operator. Its contract: docs/reference/broker.md.

    waiting --recv--> in flight --ack_turn--> done
       ^                  |
       '-requeue_inflight-'   (redelivered at the next recv; after the fifth time a dead letter)

A message is accepted when `send` returns: it is on disk. It is handed out at least once until it is acked. Of what is
done only the newest is kept: an inbox has bounds in number and in bytes, so that no agent can fill the disk.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from meta.config import INBOX_BYTES, INBOX_LIMIT
from meta.errors import BadInput, NotFound, Refused, TransientError
from meta.names import ALL, MANAGER, OPERATOR
from meta.wire.limits import BODY_BYTES
from reconciler.common.token_bucket import Allowance
from reconciler.messaging.receivers import Receivers
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.messages import lists, rows
from reconciler.store.messages.rows import Letter
from reconciler.store.messages.text import (
    UNVERIFIED,
    WAKE,
    DeadLetter,
    Delivery,
    InboxMessage,
    check_body,
    check_key,
    check_label,
    check_mark,
)

__all__ = ["Broker", "DeadLetter", "Delivery", "InboxMessage"]

BODY_LIMIT = BODY_BYTES
"""Bytes of a body in UTF-8."""

Result = TypeVar("Result")

Allowed = Callable[[str, str], Awaitable[bool]]
"""Whether the first may write to the second."""


async def everybody(_sender: str, _recipient: str) -> bool:
    """Every agent may write to every other."""
    return True


class Broker:
    """All inboxes. `known` tells whether an agent of that name exists, `agents` names them all, `allowed` whom each
    may write to (never asked about the manager, the operator's own messages, or oneself); `clock` gives Unix seconds,
    `allowance` what agents may bring about in the sequence of events.

    `inbox_limit` messages may wait in one inbox before senders are held back, and those that are not acked may have
    `inbox_bytes` together (each counts at least 1,024); see Quota for what of that is one sender's.

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
        agents: Callable[[], Iterable[str]] = tuple,
        allowed: Allowed = everybody,
        allowance: Allowance | None = None,
    ) -> None:
        self._db = db
        self._known = known
        self._agents = agents
        self._allowed = allowed
        self._quota = rows.Quota(inbox_limit, inbox_bytes)
        self._body_limit = body_limit
        self._clock = clock
        self.allowance = allowance or Allowance()
        self._receivers = Receivers(db, clock)
        self._acking: set[str] = set()

    # in
    async def send(self, sender: str, to: str, body: str, key: str | None = None) -> int:
        """Put a message into an inbox, or with `to` = "*" into that of every agent but the sender's that has room.

        Returns its id (the first one's) once it is durable. When `sender` used `key` with this `to` before, nothing is
        stored and that message's id is returned.
        Raises BadInput (no such recipient, body too long or no text), Refused (not on the sender's list) and
        TransientError (every inbox full, disk full, too many to the operator).
        """
        check_body(body, self._body_limit)
        if to != ALL and sender != OPERATOR:
            check_mark(body)
        if key is not None:
            check_key(key)
        recipients = await self._recipients(sender, to)
        if to == OPERATOR:
            self.allowance.spend(sender)
        return await self._accept(sender, to, recipients, body, "operator" if sender == OPERATOR else "peer", key)

    async def wake(self, agent: str, label: str, body: str) -> int:
        """A message to `agent` from something in its own container, which says it is `label`; from `wake:<label>`.

        Raises BadInput for a label that is reserved or an agent's, else as `send`.
        """
        check_label(label)
        if self._known(label.casefold()):
            raise BadInput(f"a wake cannot be from {label!r}: an agent has that name", "name the program that calls")
        check_body(body, self._body_limit)
        check_mark(body)
        self._check_known(agent)
        return await self._accept(f"{WAKE}{label}", agent, (agent,), body, "wake", None)

    async def operator_msg(self, agent: str, body: str, *, verified: bool) -> int:
        """A message to `agent` from the operator. `verified`: it came in on the operator's side.

        Otherwise anything in the agent's container may have sent it, and it is from `operator:unverified`.
        """
        check_body(body, self._body_limit)
        self._check_known(agent)
        sender, origin = (OPERATOR, "operator") if verified else (UNVERIFIED, "socket")
        if not verified:
            check_mark(body)
        return await self._accept(sender, agent, (agent,), body, origin, None)

    async def _accept(
        self, sender: str, to: str, recipients: Sequence[str], body: str, origin: str, key: str | None
    ) -> int:
        quiet = to == ALL and not self.allowance.left(sender)
        letter = Letter(sender, to, recipients, body, int(self._clock()), origin, key, quiet)
        accepted = await self._receivers.hand_over(letter, self._quota)
        if accepted.missed and not letter.quiet:
            self.allowance.note(sender, 1)
        if accepted.full:
            raise TransientError(
                f"the inbox of {', '.join(accepted.full[:5])} is full (an inbox takes {self._quota.waiting} messages "
                f"and {self._quota.size} bytes, a quarter of them from one sender); nothing was sent",
                f"wait until {accepted.full[0]} has read and acked some; "
                "`hive status` shows who runs, `hive dead-letters` what was given up",
            )
        return accepted.id

    async def check(self, sender: str, to: str) -> None:
        """Raises BadInput when there is no such recipient, Refused when `sender` may not write to it."""
        self._check_known(to)
        await self._check_allowed(sender, to)

    async def _recipients(self, sender: str, to: str) -> tuple[str, ...]:
        if to != ALL:
            await self.check(sender, to)
            return (to,)
        recipients = tuple(sorted({MANAGER, *self._agents()} - {sender}))
        if not recipients:
            raise BadInput("there is no other agent to send to", "see `hive list`")
        for each in recipients:
            await self._check_allowed(sender, each)
        return recipients

    async def _check_allowed(self, sender: str, to: str) -> None:
        if OPERATOR != sender != to != MANAGER and not await self._allowed(sender, to):
            raise Refused(
                f"{sender} may not write to {to}", "`recipients` of its agent.toml has the list; the manager is on it"
            )

    def _check_known(self, to: str) -> None:
        if to not in (OPERATOR, MANAGER) and not self._known(to):
            raise BadInput(
                f"there is no agent {to[:40]!r} to send to", "see `hive list`; a destroyed agent has no inbox"
            )

    # out
    async def recv(
        self, agent: str, wait: float, incarnation: str | None = None, *, hold: bool = False
    ) -> Delivery | None:
        """Hand out the oldest waiting message; wait up to `wait` seconds for one, then None.

        A message is handed to one receiver only. A cancelled recv puts back what it had taken. `incarnation`
        says for the record which start of the receiver this is. `interrupt` and `close` end the wait early.
        For a receiver that has never acked nor requeued only its newest 100 stay in flight: it does not fill its inbox.

        With `hold` no ack and no requeue touches the message until the caller says that it is with its receiver
        (`seen`) or is not (`unseen`); one of them must be called.
        """
        if agent == OPERATOR:
            raise BadInput("the operator's inbox has no recv", "read it with recent")
        return await self._receivers.recv(agent, wait, incarnation, self._quota, hold=hold)

    def seen(self, agent: str, id: int) -> None:
        """The message that `recv(hold=True)` gave was written to its receiver's connection."""
        self._receivers.seen(agent, id)

    async def unseen(self, agent: str, id: int) -> None:
        """It could not be written: it waits again, marked as redelivered since part of it may have been seen."""
        await self._receivers.unseen(agent, id)

    async def ack_turn(self, agent: str) -> int:
        """Done: every message handed out to `agent` and neither acked nor requeued since. Returns how many."""
        unseen, now = self._receivers.acks(agent), int(self._clock())
        work = partial(rows.ack, recipient=agent, at=now, quota=self._quota, unseen=unseen)
        return await self._db.write(partial(_noted, work=work, agent=agent))

    async def requeue_inflight(self, agent: str) -> int:
        """Every message handed out and not acked waits again, in its old place. Returns how many.

        What was handed out five times by now is a dead letter instead.
        """
        unseen, now, told = self._receivers.acks(agent), int(self._clock()), self.allowance.left(agent)
        work = partial(rows.requeue, recipient=agent, at=now, unseen=unseen, told=told)
        count, dead = await self._db.write(partial(_noted, work=work, agent=agent))
        self.allowance.note(agent, min(dead, told))
        if count:
            self.notice(agent)
        return count

    def notice(self, agent: str) -> None:
        """Wake the receivers of `agent`: a transaction that is committed has put something into its inbox."""
        self._receivers.wake(agent)

    async def acks(self, agent: str) -> None:
        """A receiver of this inbox is one that acks: nothing that it was handed is done without that."""
        self._receivers.acks(agent)
        if agent not in self._acking:
            await self._db.write(partial(rows.note_acks, agent=agent))
            self._acking.add(agent)

    def interrupt(self, agent: str) -> None:
        """Every recv that waits for `agent` now comes back empty at once (the agent is being drained)."""
        self._receivers.interrupt(agent)

    async def close(self) -> None:
        """End every waiting recv, and let messages of cancelled ones get back."""
        await self._receivers.close()

    # looking
    async def unread(self, agent: str) -> int:
        """How many messages wait in the inbox (handed out ones do not count)."""
        return await self._db.read(partial(rows.count_waiting, recipient=agent))

    async def unread_all(self) -> dict[str, int]:
        """For each inbox with waiting messages how many there are."""
        return await self._db.read(rows.count_all_waiting)

    async def recent(self, agent: str, limit: int) -> list[InboxMessage]:
        """The newest messages addressed to `agent`, newest first, whatever became of them. Changes nothing.

        At most `limit`, and at most 1 MiB of bodies together.
        """
        return await self._db.read(partial(lists.recent, recipient=agent, limit=max(0, limit)))

    async def mark_read(self, up_to: int) -> int:
        """The operator has seen its inbox up to and with this id. Returns how many were new."""
        now = int(self._clock())
        return await self._db.write(partial(rows.mark_read, recipient=OPERATOR, up_to=up_to, at=now, quota=self._quota))

    # dead letters
    async def dead_letters(self, limit: int = 1_000) -> list[DeadLetter]:
        """Messages that were handed out five times and never acked, newest first; at most 1 MiB of bodies."""
        return await self._db.read(partial(lists.dead_letters, limit=max(0, limit)))

    async def dead_all(self) -> dict[str, int]:
        """For each inbox with dead letters how many there are."""
        return await self._db.read(lists.count_dead)

    async def revive(self, id: int) -> None:
        """Let a dead letter be handed out again, up to four times. NotFound; BadInput when its recipient is gone."""
        agent = await self._db.read(partial(lists.dead_recipient, id=id))
        if agent is not None:
            self._check_known(agent)
        if agent is None or not await self._db.write(partial(lists.revive, id=id)):
            raise NotFound(f"there is no dead letter {id}", "see `hive dead-letters`")
        self.notice(agent)

    async def discard(self, id: int) -> None:
        """Remove a dead letter. NotFound."""
        if not await self._db.write(partial(lists.discard, id=id)):
            raise NotFound(f"there is no dead letter {id}", "see `hive dead-letters`")

    # upkeep
    async def clean(self, now: float) -> int:
        """Remove what was acked over 30 days before `now` (Unix seconds). To be called hourly. Returns how many."""
        return await self._db.write(partial(lists.clean, now=int(now)))

    async def forget(self, agent: str) -> None:
        """Remove the inbox of a purged agent; its receivers come back empty."""
        self._acking.discard(agent)
        await self._db.write(partial(rows.delete, recipient=agent))
        self._receivers.forget(agent)


def _noted(connection: Transaction, work: Callable[[Transaction], Result], agent: str) -> Result:
    """As a receiver that acks does it: from now on only that is an ack."""
    rows.note_acks(connection, agent)
    return work(connection)
