"""The broker: durable messages between agents, the manager and the operator. Its contract: docs/reference/broker.md.

    waiting --recv--> in flight --ack_turn--> done
       ^                  |
       '-requeue_inflight-'   (redelivered at the next recv; after three failed turns a dead letter)

A message is on disk when `send` returns. It is delivered at least once until it is acknowledged. An inbox has limits in
number and in bytes, also for done messages, so that no agent can fill the disk.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeVar

from meta.errors import BadInput, Conflict, HiveError, NotFound, Refused, TransientError
from meta.names import ALL, MANAGER, OPERATOR
from reconciler.common.token_bucket import Allowance
from reconciler.messaging.counters import Counters, NoCounters
from reconciler.messaging.receivers import Receivers
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.messages import lists, rows, search
from reconciler.store.messages.attempts import AttemptLimit, Ended, Ending, bury_all, fail, release, requeue
from reconciler.store.messages.quota import Quota
from reconciler.store.messages.rows import NewMessage
from reconciler.store.messages.search import MessageFilter, MessagePage, MessageRow
from reconciler.store.messages.text import (
    UNVERIFIED,
    WAKE,
    DeadLetter,
    DeadLetterHead,
    Delivery,
    InboxMessage,
    check_body,
    check_key,
    check_label,
    check_mark,
)

__all__ = [
    "ALL",
    "OPERATOR",
    "Broker",
    "DeadLetter",
    "Delivery",
    "InboxMessage",
    "MessageFilter",
    "MessagePage",
    "MessageRow",
    "Quota",
]


DEFAULT_QUOTA = Quota()
DEFAULT_ATTEMPTS = AttemptLimit()
NO_COUNTERS = NoCounters()

Result = TypeVar("Result")

Allowed = Callable[[str, str], Awaitable[bool]]
"""Returns True if the first agent may write to the second."""


async def allow_all(_sender: str, _recipient: str) -> bool:
    """Allow every agent to write to every other."""
    return True


class Broker:
    """All inboxes.

    `known` returns True for the name of an agent, `agents` returns all names. `allowed` decides who may write to whom;
    it is not called for the manager, for messages of the operator, or for messages to the sender itself. `clock` gives
    Unix seconds. `allowance` limits the events that each agent causes. `quota` limits each inbox. `failures` are the
    failed turns after which a message is a dead letter. `since` is when this daemon began, in Unix seconds.

    The operator's inbox is read with `recent` and emptied with `mark_read`, not with `recv`. Its quota is the same.
    """

    def __init__(
        self,
        db: Database,
        known: Callable[[str], bool],
        *,
        quota: Quota = DEFAULT_QUOTA,
        clock: Callable[[], float] = time.time,
        agents: Callable[[], Iterable[str]] = tuple,
        allowed: Allowed = allow_all,
        counters: Counters = NO_COUNTERS,
        attempts: AttemptLimit = DEFAULT_ATTEMPTS,
    ) -> None:
        self._db = db
        self._attempts = attempts
        self._known = known
        self._agents = agents
        self._allowed = allowed
        self._quota = quota
        self._clock = clock
        self._counters = counters
        self.allowance = Allowance()
        self._receivers = Receivers(db, clock)
        self._acknowledging: set[str] = set()

    # sending
    async def send(self, sender: str, to: str, body: str, key: str | None = None) -> int:
        """Put a message into an inbox, if the inbox has room.

        With `to` = "*" put it into every agent's inbox but the sender's. Return the id of the first copy once all are
        durable. If `sender` used `key` with this `to` before, store nothing and return that message's id. Raise
        BadInput (no such recipient, body too long or not text), Refused (not on the sender's list) and TransientError
        (every inbox full, disk full, too many to the operator).
        """
        try:
            id = await self._send(sender, to, body, key)
        except HiveError as error:
            self._counters.refuse(transient=isinstance(error, TransientError))
            raise
        self._counters.accept()
        return id

    async def _send(self, sender: str, to: str, body: str, key: str | None) -> int:
        check_body(body, self._quota.body)
        if to != ALL and sender != OPERATOR:
            check_mark(body)
        if key is not None:
            check_key(key)
        recipients = await self._recipients(sender, to)
        if to == OPERATOR:
            self.allowance.spend(sender)
        return await self._accept(sender, to, recipients, body, "operator" if sender == OPERATOR else "peer", key)

    async def wake(self, agent: str, label: str, body: str) -> int:
        """Send a message to `agent` from a program in its own container. The sender is `wake:<label>`.

        Raise BadInput for a label that is reserved or an agent's name, and otherwise what `send` raises.
        """
        check_label(label)
        if self._known(label.casefold()):
            raise BadInput(f"a wake cannot be from {label!r}: an agent has that name", "name the program that calls")
        check_body(body, self._quota.body)
        check_mark(body)
        self._check_known(agent)
        return await self._accept(f"{WAKE}{label}", agent, (agent,), body, "wake", None)

    async def operator_msg(self, agent: str, body: str, *, verified: bool) -> int:
        """Send a message to `agent` from the operator. `verified`: the call came in on the operator's own socket.

        Otherwise any program in the agent's container may be the caller, so the sender is `operator:unverified`.
        """
        check_body(body, self._quota.body)
        self._check_known(agent)
        sender, origin = (OPERATOR, "operator") if verified else (UNVERIFIED, "socket")
        if not verified:
            check_mark(body)
        return await self._accept(sender, agent, (agent,), body, origin, None)

    async def _accept(
        self, sender: str, to: str, recipients: Sequence[str], body: str, origin: str, key: str | None
    ) -> int:
        quiet = to == ALL and not self.allowance.left(sender)
        message = NewMessage(sender, to, recipients, body, int(self._clock()), origin, key, quiet)
        accepted = await self._receivers.accept(message, self._quota)
        if accepted.missed and not message.quiet:
            self.allowance.note(sender, 1)
        if accepted.full:
            raise TransientError(
                f"the inbox of {', '.join(accepted.full[:5])} is full (an inbox takes {self._quota.waiting} messages "
                f"and {self._quota.size} bytes, a quarter of them from one sender); nothing was sent",
                f"wait until {accepted.full[0]} has read and acked some; "
                "`hive status` shows which agents run, `hive dead-letters` what was never acked",
            )
        return accepted.id

    async def check(self, sender: str, to: str) -> None:
        """Reject a recipient that does not exist (BadInput) or that `sender` may not write to (Refused)."""
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

    # receiving
    async def recv(
        self, agent: str, wait: float, incarnation: str | None = None, *, hold: bool = False
    ) -> Delivery | None:
        """Deliver the oldest waiting message. Wait up to `wait` seconds for one; then return None.

        A message is delivered to one receiver. A cancelled recv releases its message. `incarnation` names the start of
        the receiver, for the record. `interrupt` and `close` end the wait early. If the receiver has never acknowledged
        or requeued, only its newest 100 messages stay in flight, so that they do not fill its inbox.

        With `hold` the caller keeps a lease: acks and requeues skip the message until the caller calls `confirm` (the
        receiver has it) or `release` (it does not). The caller must call one of them.
        """
        if agent == OPERATOR:
            raise BadInput("the operator's inbox has no recv", "read it with recent")
        delivery = await self._receivers.recv(agent, wait, incarnation, self._quota, hold=hold)
        if delivery is not None:
            self._counters.deliver()
        return delivery

    def confirm(self, agent: str, id: int) -> None:
        """End the lease of a message from `recv(hold=True)`: it was written to its receiver's connection."""
        self._receivers.confirm(agent, id)

    async def release(self, agent: str, id: int) -> None:
        """End the lease of a message that could not be written. It waits again, marked as redelivered."""
        await self._receivers.release(agent, id)

    async def ack_turn(self, agent: str) -> int:
        """Acknowledge every message in flight to `agent`, except leased ones. Return how many."""
        leases, now = self._receivers.leases(agent), int(self._clock())
        work = partial(rows.acknowledge, recipient=agent, at=now, quota=self._quota, leases=leases)
        count = await self._db.write(partial(_from_acknowledging, work=work, agent=agent))
        self._counters.acknowledge(count)
        if count:
            self.wake_receivers(agent)  # one that has to be delivered alone may wait
        return count

    async def requeue_inflight(self, agent: str, launch: str | None = None) -> int:
        """Requeue every message in flight to `agent`, in its old place. Return how many.

        `launch` names the start of the caller. If that also took a message, its turn failed. After its last attempt a
        message becomes a dead letter instead (store/messages/attempts.py).
        """
        return (await self._end(agent, launch, requeue, acknowledges=True)).again

    async def release_turn(self, agent: str, launch: str, only: Collection[int] | None = None) -> int:
        """Requeue what is in flight to this launch, without a failed turn. Return how many.

        The launch could not handle it for a reason that is not the message's: an outage, a limit, a missing login.
        `only` names the messages by their ids; None: all of them. Raise Conflict if one of these is in flight then. A
        named one with a failed turn, which is delivered alone, waits until another one was delivered, if any waits.
        """
        ended = await self._end(agent, launch, partial(release, only=only), acknowledges=True)
        if ended.kept:
            raise Conflict(f"{ended.kept} of the messages to give back are still in flight", "give them back again")
        if ended.failed is not None:
            self._receivers.postpone(agent, ended.failed)
        return ended.again

    async def fail_turn(self, agent: str, launch: str) -> int:
        """Requeue what was in flight to a launch that died in its turn, or that hive ended for it. Idempotent.

        Each of these messages counts a failed turn. Return how many became dead letters.
        """
        return (await self._end(agent, launch, fail, acknowledges=False)).dead

    async def _end(
        self,
        agent: str,
        launch: str | None,
        work: Callable[[Transaction, Ending], Ended],
        *,
        acknowledges: bool,
    ) -> Ended:
        """End deliveries without an ack."""
        leases = self._receivers.leases(agent) if acknowledges else self._receivers.held(agent)
        now, events = int(self._clock()), self.allowance.left(agent)
        ending = Ending(agent, now, launch, leases, self._attempts.since, self._attempts.failures, events, self._tells)

        def change(connection: Transaction) -> Ended:
            if acknowledges:
                rows.set_acknowledges(connection, agent)
            return work(connection, ending)

        ended = await self._db.write(change)
        self.allowance.note(agent, min(ended.dead, events))
        self._counters.requeue(ended.again)
        if ended.again or ended.dead:
            self.wake_receivers(agent)
        for sender in ended.told:
            self.wake_receivers(sender)
        return ended

    def _tells(self, sender: str) -> bool:
        """Return True if the sender of a dead letter is told: an agent is. The operator sees the event."""
        return sender == MANAGER or self._known(sender)

    def wake_receivers(self, agent: str) -> None:
        """Make the receivers of `agent` look for messages. Call it after a commit that put one into the inbox."""
        self._receivers.wake(agent)

    async def expect_acks(self, agent: str) -> None:
        """Record that the receivers of this inbox acknowledge. From now on no message is done without an ack."""
        self._receivers.leases(agent)
        if agent not in self._acknowledging:
            await self._db.write(partial(rows.set_acknowledges, agent=agent))
            self._acknowledging.add(agent)

    def interrupt(self, agent: str) -> None:
        """End every recv that waits for `agent` now, without a message, because the agent is being drained."""
        self._receivers.interrupt(agent)

    async def close(self) -> None:
        """End every waiting recv, and finish the releases of cancelled recvs."""
        await self._receivers.close()

    # lists
    async def unread(self, agent: str) -> int:
        """Return how many messages wait in the inbox. Messages in flight do not count."""
        return await self._db.read(partial(lists.count_waiting, recipient=agent))

    async def unread_all(self) -> dict[str, int]:
        """Return how many messages wait in each inbox that is not empty."""
        return await self._db.read(lists.count_all_waiting)

    async def kept(self, agents: Collection[str]) -> dict[str, int]:
        """Return how many messages are kept of each of these inboxes, read ones too. An empty inbox is left out."""
        return await self._db.read(partial(lists.count_kept, recipients=agents))

    async def recent(self, agent: str, limit: int, *, only_unread: bool = False) -> list[InboxMessage]:
        """Return the newest messages to `agent`, newest first, done ones included. Change nothing.

        At most `limit`, and at most 1 MiB of bodies together.
        """
        query = partial(lists.recent, recipient=agent, limit=max(0, limit), only_unread=only_unread)
        return await self._db.read(query)

    async def page(self, wanted: MessageFilter, limit: int) -> MessagePage:
        """Return at most `limit` messages of all inboxes, newest first. Change nothing."""
        return await self._db.read(partial(search.page, wanted=wanted, limit=limit))

    async def get(self, id: int) -> MessageRow:
        """Return one message of any inbox, whole. Raise NotFound."""
        message = await self._db.read(partial(search.get, id=id))
        if message is None:
            raise NotFound(f"there is no message {id}", "an inbox keeps its newest 1,000 done messages, for 30 days")
        return message

    async def mark_read(self, up_to: int) -> int:
        """Mark the operator's messages up to and including this id as done. Return how many were new."""
        now = int(self._clock())
        return await self._db.write(partial(rows.mark_read, recipient=OPERATOR, up_to=up_to, at=now, quota=self._quota))

    async def mark_these_read(self, ids: Sequence[int]) -> int:
        """Mark these messages of the operator as done, and no others. Return how many were new."""
        now = int(self._clock())
        return await self._db.write(
            partial(rows.mark_these_read, recipient=OPERATOR, ids=ids, at=now, quota=self._quota)
        )

    # dead letters
    async def dead_letters(self, limit: int = 1_000) -> list[DeadLetter]:
        """Return the messages that had their last attempt and were never acknowledged, newest first.

        At most `limit`, and at most 1 MiB of bodies together.
        """
        return await self._db.read(partial(lists.dead_letters, limit=max(0, limit)))

    async def dead_heads(self, limit: int) -> list[DeadLetterHead]:
        """Return the newest `limit` dead letters, newest first, without their bodies."""
        return await self._db.read(partial(lists.dead_heads, limit=limit))

    async def oldest_waiting(self, agent: str) -> int | None:
        """Return the time of the oldest message that waits in an inbox; None if none waits."""
        return await self._db.read(partial(lists.oldest_waiting, recipient=agent))

    async def dead_all(self) -> dict[str, int]:
        """Return the number of dead letters of each inbox that has any."""
        return await self._db.read(lists.count_dead)

    async def revive(self, id: int) -> None:
        """Requeue a dead letter, for some more attempts.

        Raise NotFound, or BadInput if its recipient does not exist any more.
        """
        agent = await self._db.read(partial(lists.dead_recipient, id=id))
        if agent is not None:
            self._check_known(agent)
        if agent is None or not await self._db.write(partial(lists.revive, id=id)):
            raise NotFound(f"there is no dead letter {id}", "see `hive dead-letters`")
        self.wake_receivers(agent)

    async def discard(self, id: int) -> None:
        """Remove a dead letter. Raise NotFound."""
        if not await self._db.write(partial(lists.discard, id=id)):
            raise NotFound(f"there is no dead letter {id}", "see `hive dead-letters`")

    async def abandon(self, agent: str, reason: str) -> None:
        """Make dead letters of what waits for an agent whose spawn failed. Another agent may get its name later."""
        work = partial(bury_all, recipient=agent, at=int(self._clock()), reason=reason)
        if await self._db.write(work):
            self.wake_receivers(agent)

    # cleaning
    async def clean(self, now: float) -> int:
        """Remove messages acknowledged over 30 days before `now` (Unix seconds). Return how many. Call it hourly."""
        return await self._db.write(partial(lists.clean, now=int(now)))

    async def forget(self, agent: str) -> None:
        """Remove the inbox of a purged agent. End its waiting receivers without a message."""
        self._acknowledging.discard(agent)
        await self._db.write(partial(rows.delete, recipient=agent))
        self._receivers.forget(agent)


def _from_acknowledging(connection: Transaction, work: Callable[[Transaction], Result], agent: str) -> Result:
    """Run `work` for a receiver that acknowledges, and record that it does."""
    rows.set_acknowledges(connection, agent)
    return work(connection)
