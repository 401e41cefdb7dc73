"""From the database to receivers: waiting, handing out in the transaction of the send, putting back.

A send to an inbox with a waiting receiver stores and hands out in one commit: a wake-up costs one fsync, not two.
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
from reconciler.store.messages.rows import Accepted, HandOut, Letter, Quota
from reconciler.store.messages.text import Delivery

logger = logging.getLogger(__name__)

Claims = dict[str, tuple[Waiter, HandOut]]


class Receivers:
    """Who waits for what, and what is on its way to whom. `clock` gives Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        self._inboxes: dict[str, Inbox] = {}
        self._acking: set[str] = set()
        self._storing: set[asyncio.Future[Accepted]] = set()
        self._closed = False

    # a letter comes in
    async def hand_over(self, letter: Letter, quota: Quota) -> Accepted:
        """Store a letter, and give each inbox's longest waiting receiver its message in the same transaction."""
        claims = self._claim(letter)
        if not claims:
            accepted = await self._db.write(partial(rows.accept, letter=letter, quota=quota, receivers={}))
            self._wake_all(letter, accepted)
            return accepted
        work = partial(
            rows.accept,
            letter=letter,
            quota=quota,
            receivers={agent: hand_out for agent, (_, hand_out) in claims.items()},
        )
        try:
            storing = self._db.submit(work)
        except HiveError:
            self._release(claims, {})
            raise
        # When the sender leaves in the middle, the receivers still get what was taken for them.
        self._storing.add(storing)
        storing.add_done_callback(partial(self._stored, letter, claims))
        with translated(self._db.path):
            return await asyncio.shield(storing)

    def _claim(self, letter: Letter) -> Claims:
        claims: Claims = {}
        for agent in letter.recipients:
            inbox = self._inboxes.get(agent)
            waiter = inbox.claim() if inbox else None
            if inbox and waiter:
                claims[agent] = waiter, HandOut(agent, waiter.incarnation)
                inbox.unseen.add(claims[agent][1])
        return claims

    def _stored(self, letter: Letter, claims: Claims, storing: asyncio.Future[Accepted]) -> None:
        self._storing.discard(storing)
        handed: Mapping[str, Delivery] = {}
        if not storing.cancelled() and storing.exception() is None:
            accepted = storing.result()
            handed = accepted.handed or {}
            self._wake_all(letter, accepted, besides=handed)
        self._release(claims, handed)

    def _release(self, claims: Claims, handed: Mapping[str, Delivery]) -> None:
        """Give each claimed receiver what it was handed; one that was handed nothing looks again."""
        for agent, (waiter, hand_out) in claims.items():
            self._give(agent, waiter, hand_out, handed.get(agent))

    def _give(self, agent: str, waiter: Waiter, hand_out: HandOut, delivery: Delivery | None) -> None:
        inbox = self._inboxes[agent]
        if delivery is None:
            inbox.unseen.discard(hand_out)
            answer(waiter, None)
        elif not answer(waiter, (delivery, hand_out)):
            self._back(agent, hand_out)

    def _wake_all(self, letter: Letter, accepted: Accepted, besides: Mapping[str, Delivery] | None = None) -> None:
        if not accepted.full:
            for agent in letter.recipients:
                if not besides or agent not in besides:
                    self.wake(agent)

    # a receiver asks
    async def recv(
        self, agent: str, wait: float, incarnation: str | None, quota: Quota, *, hold: bool
    ) -> Delivery | None:
        """See Broker.recv."""
        inbox = self._inboxes.setdefault(agent, Inbox())
        interrupts = inbox.interrupts
        deadline = asyncio.get_running_loop().time() + wait
        old = agent not in self._acking
        while not self._closed:
            changes = inbox.changes  # before looking: what comes after the look changes this very number
            got = await self._take(agent, inbox, incarnation, quota if old else None)
            old = False
            if got is None and inbox.interrupts == interrupts and inbox.changes == changes and not self._closed:
                got = await self._wait(agent, inbox, incarnation, deadline)
            if got is not None:
                delivery, hand_out = got
                if not hold:
                    inbox.unseen.discard(hand_out)
                return delivery
            if inbox.interrupts != interrupts or asyncio.get_running_loop().time() >= deadline:
                return None
        return None

    async def _wait(
        self, agent: str, inbox: Inbox, incarnation: str | None, deadline: float
    ) -> tuple[Delivery, HandOut] | None:
        """What a sender hands over until `deadline`; None when it is time to look again, or over."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(incarnation, loop.create_future())
        inbox.waiters.append(waiter)
        alarm = loop.call_at(deadline, answer, waiter, None)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if not waiter.future.cancelled() and (got := waiter.future.result()) is not None:
                self._back(agent, got[1])
            raise
        finally:
            alarm.cancel()
            with suppress(ValueError):  # who has claimed it sees that it is gone, and puts back
                inbox.waiters.remove(waiter)

    async def _take(
        self, agent: str, inbox: Inbox, incarnation: str | None, quota: Quota | None
    ) -> tuple[Delivery, HandOut] | None:
        """One attempt. The transaction runs to its end even if we are cancelled; what it took then goes back.

        With `quota` most of what was handed out before is done, if the agent never acks (see ack_old).
        """
        if inbox.putting_back:  # else a younger message would overtake the one that is on its way back
            await asyncio.wait(inbox.putting_back)
        hand_out = HandOut(agent, incarnation)
        work = partial(_take, hand_out=hand_out, at=int(self._clock()), quota=quota)
        inbox.unseen.add(hand_out)
        try:
            taking = self._db.submit(work)
        except HiveError:
            inbox.unseen.discard(hand_out)
            raise
        try:
            with translated(self._db.path):
                delivery, acks = await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._back(agent, hand_out, taking)
            raise
        except BaseException:
            inbox.unseen.discard(hand_out)
            raise
        if acks:
            self._acking.add(agent)
        if delivery is None:
            inbox.unseen.discard(hand_out)
            return None
        return delivery, hand_out

    # what became of it
    def seen(self, agent: str, id: int) -> None:
        """See Broker.seen."""
        inbox = self._inboxes.get(agent)
        if inbox and (hand_out := inbox.held(id)):
            inbox.unseen.discard(hand_out)

    async def unseen(self, agent: str, id: int) -> None:
        """See Broker.unseen."""
        inbox = self._inboxes.get(agent)
        if inbox and (hand_out := inbox.held(id)):
            await asyncio.shield(self._back(agent, hand_out, seen=True))

    def acks(self, agent: str) -> tuple[HandOut, ...]:
        """The agent acks or requeues: a peer that does. Returns what that is not for."""
        self._acking.add(agent)
        inbox = self._inboxes.get(agent)
        return tuple(inbox.unseen) if inbox else ()

    def _back(
        self,
        agent: str,
        hand_out: HandOut,
        taking: asyncio.Future[tuple[Delivery | None, bool]] | None = None,
        *,
        seen: bool = False,
    ) -> asyncio.Task[None]:
        inbox = self._inboxes.setdefault(agent, Inbox())
        task = asyncio.create_task(self._put_back(agent, inbox, hand_out, taking, seen), name=f"put-back {agent}")
        inbox.putting_back.add(task)
        task.add_done_callback(partial(self._is_back, agent, inbox))
        return task

    async def _put_back(
        self,
        agent: str,
        inbox: Inbox,
        hand_out: HandOut,
        taking: asyncio.Future[tuple[Delivery | None, bool]] | None,
        seen: bool,
    ) -> None:
        try:
            if taking is not None:
                await asyncio.wait({taking})
                if taking.cancelled() or taking.exception() is not None or taking.result()[0] is None:
                    return
            if hand_out.id is not None:
                await self._db.write(partial(rows.put_back, id=hand_out.id, seen=seen))
        except HiveError as error:
            # It stays in flight, so requeue_inflight brings it back.
            logger.warning("a message of %s whose receiver left was not put back: %s", agent, error)
        finally:
            inbox.unseen.discard(hand_out)

    def _is_back(self, _agent: str, inbox: Inbox, task: asyncio.Task[None]) -> None:
        inbox.putting_back.discard(task)
        inbox.wake()

    # all of them
    def wake(self, agent: str) -> None:
        """Let the receivers of `agent` look."""
        if inbox := self._inboxes.get(agent):
            inbox.wake()

    def interrupt(self, agent: str) -> None:
        """See Broker.interrupt."""
        if inbox := self._inboxes.get(agent):
            inbox.interrupts += 1
            inbox.wake()

    def forget(self, agent: str) -> None:
        """The inbox is gone."""
        self._acking.discard(agent)
        self.interrupt(agent)

    async def close(self) -> None:
        """See Broker.close."""
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.wake()
        if self._storing:
            await asyncio.wait(self._storing)
        if tasks := [task for inbox in self._inboxes.values() for task in inbox.putting_back]:
            await asyncio.wait(tasks)


def _take(connection: Transaction, hand_out: HandOut, at: int, quota: Quota | None) -> tuple[Delivery | None, bool]:
    """What is handed out, and whether the agent is known to ack."""
    acks = quota is None or rows.acks(connection, hand_out.agent)
    if quota is not None and not acks:
        rows.ack_old(connection, hand_out.agent, at, quota)
    return rows.take(connection, hand_out, at), acks
