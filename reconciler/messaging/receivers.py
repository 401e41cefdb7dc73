"""The path from the database to receivers: waiting, delivery in the transaction of the send, release of what was not
received.

A send to an inbox with a waiting receiver stores and delivers in one commit: it costs one fsync, not two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from meta.errors import HiveError
from reconciler.messaging.inbox import Inbox, Waiter, answer
from reconciler.store.connection import Transaction, translated
from reconciler.store.database import Database
from reconciler.store.messages import rows
from reconciler.store.messages.quota import Quota
from reconciler.store.messages.rows import Accepted, Lease, NewMessage
from reconciler.store.messages.text import Delivery

logger = logging.getLogger(__name__)

Claims = dict[str, tuple[Waiter, Lease]]


class Receivers:
    """The receivers of all inboxes, and the leases of messages on their way to them. `clock` gives Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        self._inboxes: dict[str, Inbox] = {}
        self._acknowledging: set[str] = set()
        self._storing: set[asyncio.Future[Accepted]] = set()
        self._closed = False

    # a message is sent
    async def accept(self, message: NewMessage, quota: Quota) -> Accepted:
        """Store a message. In the same transaction, give the longest waiting receiver of each inbox a message."""
        claims = self._claim(message)
        if not claims:
            accepted = await self._db.write(partial(rows.accept, message=message, quota=quota, leases={}))
            self._wake_all(message, accepted)
            return accepted
        work = partial(
            rows.accept,
            message=message,
            quota=quota,
            leases={agent: lease for agent, (_, lease) in claims.items()},
        )
        try:
            storing = self._db.submit(work)
        except HiveError:
            self._answer(claims, {})
            raise
        # If the sender is cancelled now, the receivers still get what the transaction delivers to them.
        self._storing.add(storing)
        storing.add_done_callback(partial(self._stored, message, claims))
        with translated(self._db.path):
            return await asyncio.shield(storing)

    def _claim(self, message: NewMessage) -> Claims:
        claims: Claims = {}
        for agent in message.recipients:
            inbox = self._inboxes.get(agent)
            waiter = inbox.claim() if inbox else None
            if inbox and waiter:
                claims[agent] = waiter, Lease(agent, waiter.incarnation)
                inbox.leases.add(claims[agent][1])
        return claims

    def _stored(self, message: NewMessage, claims: Claims, storing: asyncio.Future[Accepted]) -> None:
        self._storing.discard(storing)
        deliveries: Mapping[str, Delivery] = {}
        if not storing.cancelled() and storing.exception() is None:
            accepted = storing.result()
            deliveries = accepted.deliveries or {}
            self._wake_all(message, accepted, besides=deliveries)
        self._answer(claims, deliveries)

    def _answer(self, claims: Claims, deliveries: Mapping[str, Delivery]) -> None:
        """Give each claimed receiver its delivery. A receiver without a delivery looks again."""
        for agent, (waiter, lease) in claims.items():
            self._give(agent, waiter, lease, deliveries.get(agent))

    def _give(self, agent: str, waiter: Waiter, lease: Lease, delivery: Delivery | None) -> None:
        inbox = self._inboxes[agent]
        if delivery is None:
            inbox.leases.discard(lease)
            answer(waiter, None)
        elif not answer(waiter, (delivery, lease)):
            self._start_release(agent, lease)

    def _wake_all(self, message: NewMessage, accepted: Accepted, besides: Mapping[str, Delivery] | None = None) -> None:
        if not accepted.full:
            for agent in message.recipients:
                if not besides or agent not in besides:
                    self.wake(agent)

    # a receiver waits
    async def recv(
        self, agent: str, wait: float, incarnation: str | None, quota: Quota, *, hold: bool
    ) -> Delivery | None:
        """Take a message; see Broker.recv."""
        inbox = self._inboxes.setdefault(agent, Inbox())
        interrupts = inbox.interrupts
        deadline = asyncio.get_running_loop().time() + wait
        old = agent not in self._acknowledging
        while not self._closed:
            changes = inbox.changes  # read before looking: a message that comes after the look changes this number
            received = await self._deliver(agent, inbox, incarnation, quota if old else None)
            old = False
            if received is None and inbox.interrupts == interrupts and inbox.changes == changes and not self._closed:
                received = await self._wait(agent, inbox, incarnation, deadline)
            if received is not None:
                delivery, lease = received
                if not hold:
                    inbox.leases.discard(lease)
                return delivery
            if inbox.interrupts != interrupts or asyncio.get_running_loop().time() >= deadline:
                return None
        return None

    async def _wait(
        self, agent: str, inbox: Inbox, incarnation: str | None, deadline: float
    ) -> tuple[Delivery, Lease] | None:
        """Wait until `deadline` for a sender's delivery.

        Return None if the receiver has to look again, or at the deadline.
        """
        loop = asyncio.get_running_loop()
        waiter = Waiter(incarnation, loop.create_future())
        inbox.waiters.append(waiter)
        alarm = loop.call_at(deadline, answer, waiter, None)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if not waiter.future.cancelled() and (received := waiter.future.result()) is not None:
                self._start_release(agent, received[1])
            raise
        finally:
            alarm.cancel()
            with suppress(ValueError):  # a sender that claimed it sees that it left, and releases the message
                inbox.waiters.remove(waiter)

    async def _deliver(
        self, agent: str, inbox: Inbox, incarnation: str | None, quota: Quota | None
    ) -> tuple[Delivery, Lease] | None:
        """Try once to deliver a message. A cancelled call still finishes its transaction, then releases the message.

        With a `quota`, and if the agent never acknowledges, older messages in flight become done (see
        acknowledge_oldest).
        """
        if inbox.releases:  # otherwise a younger message would overtake the one that is being released
            await asyncio.wait(inbox.releases)
        lease = Lease(agent, incarnation, last=inbox.last)
        work = partial(_deliver, lease=lease, at=int(self._clock()), quota=quota)
        inbox.leases.add(lease)
        try:
            taking = self._db.submit(work)
        except HiveError:
            inbox.leases.discard(lease)
            raise
        try:
            with translated(self._db.path):
                delivery, acknowledges = await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._start_release(agent, lease, taking)
            raise
        except BaseException:
            inbox.leases.discard(lease)
            raise
        if acknowledges:
            self._acknowledging.add(agent)
        if delivery is None:
            inbox.leases.discard(lease)
            return None
        inbox.last = None
        return delivery, lease

    # the end of a lease
    def confirm(self, agent: str, id: int) -> None:
        """End a lease; see Broker.confirm."""
        inbox = self._inboxes.get(agent)
        if inbox and (lease := inbox.lease_of(id)):
            inbox.leases.discard(lease)

    async def release(self, agent: str, id: int) -> None:
        """Give a message back; see Broker.release."""
        inbox = self._inboxes.get(agent)
        if inbox and (lease := inbox.lease_of(id)):
            await asyncio.shield(self._start_release(agent, lease, seen=True))

    def postpone(self, agent: str, id: int) -> None:
        """Deliver another message before this one, if any waits."""
        self._inboxes.setdefault(agent, Inbox()).last = id

    def leases(self, agent: str) -> tuple[Lease, ...]:
        """Return the leases of an agent that acknowledges or requeues, and record that it does."""
        self._acknowledging.add(agent)
        return self.held(agent)

    def held(self, agent: str) -> tuple[Lease, ...]:
        """Return the leases of an agent."""
        inbox = self._inboxes.get(agent)
        return tuple(inbox.leases) if inbox else ()

    def _start_release(
        self,
        agent: str,
        lease: Lease,
        taking: asyncio.Future[tuple[Delivery | None, bool]] | None = None,
        *,
        seen: bool = False,
    ) -> asyncio.Task[None]:
        inbox = self._inboxes.setdefault(agent, Inbox())
        task = asyncio.create_task(self._release(agent, inbox, lease, taking, seen), name=f"release {agent}")
        inbox.releases.add(task)
        task.add_done_callback(partial(self._end_release, agent, inbox))
        return task

    async def _release(
        self,
        agent: str,
        inbox: Inbox,
        lease: Lease,
        taking: asyncio.Future[tuple[Delivery | None, bool]] | None,
        seen: bool,
    ) -> None:
        try:
            if taking is not None:
                await asyncio.wait({taking})
                if taking.cancelled() or taking.exception() is not None or taking.result()[0] is None:
                    return
            if lease.id is not None:
                await self._db.write(partial(rows.release, id=lease.id, seen=seen))
        except HiveError as error:
            # The message stays in flight, so the next requeue_inflight lets it wait again.
            logger.warning("a message to %s was not released after its receiver left: %s", agent, error)
        finally:
            inbox.leases.discard(lease)

    def _end_release(self, _agent: str, inbox: Inbox, task: asyncio.Task[None]) -> None:
        inbox.releases.discard(task)
        inbox.wake()

    # all receivers of an inbox
    def wake(self, agent: str) -> None:
        """Make the receivers of `agent` look for messages."""
        if inbox := self._inboxes.get(agent):
            inbox.wake()

    def interrupt(self, agent: str) -> None:
        """End waiting receivers; see Broker.interrupt."""
        if inbox := self._inboxes.get(agent):
            inbox.interrupts += 1
            inbox.wake()

    def forget(self, agent: str) -> None:
        """Drop the receivers of an inbox that was removed."""
        self._acknowledging.discard(agent)
        self.interrupt(agent)

    async def close(self) -> None:
        """End everything; see Broker.close."""
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.wake()
        if self._storing:
            await asyncio.wait(self._storing)
        if tasks := [task for inbox in self._inboxes.values() for task in inbox.releases]:
            await asyncio.wait(tasks)


def _deliver(connection: Transaction, lease: Lease, at: int, quota: Quota | None) -> tuple[Delivery | None, bool]:
    """Return the delivery, and True if the agent is known to acknowledge."""
    acknowledges = quota is None or rows.acknowledges(connection, lease.agent)
    if quota is not None and not acknowledges:
        rows.acknowledge_oldest(connection, lease.agent, at, quota)
    return rows.deliver(connection, lease, at), acknowledges
