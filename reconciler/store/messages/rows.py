"""The rows of messages from send to ack, as functions of a connection. Each is (part of) a transaction.

waiting: neither delivered nor dead; in flight: delivered, not acknowledged; done: acknowledged; dead: see lists.py.
Texts are read as bytes, so that a damaged row is shown (text.py) and does not hide the others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meta.config import INBOX_BYTES, INBOX_LIMIT
from meta.names import OPERATOR
from meta.wire.limits import BODY_BYTES
from reconciler.store.events import log
from reconciler.store.messages.notices import LEAST_SIZE, key_used, use_key
from reconciler.store.messages.text import WAKE, Delivery, decode_name, delivery

DONE_KEPT = 1_000
"""Messages per inbox that are kept after they are done, so that `recent` can list them."""

LEAST_SHARE = 25
LEAST_SHARE_BYTES = 2**20
"""The smallest share of one sender, however small the inbox is: with less, one allowed message could be refused."""

RESERVED_FROM = 8 * 2**20
"""Bytes from which on a part of an inbox is reserved for the operator."""

MISSED_NAMED = 50
"""Names at most in the event about recipients that a broadcast did not reach."""

ATTEMPTS = 5
"""Deliveries of one message. One that is not acknowledged after the last is a dead letter."""

UNACKNOWLEDGED_KEPT = 100
"""The newest messages that stay in flight for a receiver that never acknowledges. Older ones are done."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one inbox.

    At most `waiting` messages wait. Those that are not acknowledged have at most `size` bytes together. A body has at
    most `body` bytes in UTF-8. One sender has a share, so that it cannot shut out the others. The last part is
    reserved for the operator.
    """

    waiting: int = INBOX_LIMIT
    size: int = INBOX_BYTES
    body: int = BODY_BYTES

    @property
    def share(self) -> tuple[int, int]:
        """Return how many messages that are not done, and how many bytes, one sender may have: at least LEAST_SHARE."""
        return max(self.waiting // 4, LEAST_SHARE), max(self.size // 4, LEAST_SHARE_BYTES)

    def room(self, sender: str) -> tuple[int, int]:
        """Return how many messages and bytes the inbox takes from this sender. The last eighth is the operator's."""
        if sender == OPERATOR:
            return self.waiting, self.size
        return self.waiting - self.waiting // 8, self.size - (self.size // 8 if self.size >= RESERVED_FROM else 0)


@dataclass(slots=True, eq=False)
class Lease:
    """One attempt to deliver a message, until its receiver has it. Acks and requeues skip a leased message.

    `id` is set in the writer's thread: an ack that runs after this attempt must know which message it is not for.
    """

    agent: str
    incarnation: str | None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that was sent, for each of `recipients`. `to` is what the sender named: an agent, or '*'.

    `quiet`: append no event about recipients that a broadcast does not reach.
    """

    sender: str
    to: str
    recipients: Sequence[str]
    body: str
    at: int
    origin: str
    key: str | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of a send. `id` is that of the first copy.

    `full`: recipients whose inboxes are full, if nothing was stored. `missed`: recipients whose inboxes are full, if
    others got the broadcast. `deliveries`: what waiting receivers got in the same transaction, by agent.
    """

    id: int
    full: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    deliveries: Mapping[str, Delivery] | None = None


def accept(connection: sqlite3.Connection, message: NewMessage, quota: Quota, leases: Mapping[str, Lease]) -> Accepted:
    """Store a message in every inbox that has room, and deliver to each waiting receiver the oldest of its inbox.

    A broadcast that does not reach all recipients appends an event, unless `message.quiet`.
    """
    if message.key is not None:
        before = key_used(connection, message.sender, message.to, message.key)
        if before is not None:
            return Accepted(before)
    size = max(LEAST_SIZE, len(message.body.encode()))
    reached = [each for each in message.recipients if _has_room(connection, message, each, size, quota)]
    missed = tuple(each for each in message.recipients if each not in reached)
    if not reached:
        return Accepted(0, missed)
    ids = [_insert(connection, message, recipient, size) for recipient in reached]
    if missed and not message.quiet:
        agent = None if message.sender == OPERATOR else message.sender
        data = {"id": ids[0], "missed": list(missed[:MISSED_NAMED]), "count": len(missed)}
        log.append(connection, message.at, "broadcast_missed", agent, data)
    if message.key is not None:
        use_key(connection, message.sender, message.to, message.key, ids[0], message.at)
    deliveries = {}
    for agent, lease in leases.items():
        delivered = deliver(connection, lease, message.at)
        if delivered is not None:
            deliveries[agent] = delivered
    return Accepted(ids[0], missed=missed, deliveries=deliveries)


def _insert(connection: sqlite3.Connection, message: NewMessage, recipient: str, size: int) -> int:
    id = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at, size, origin, broadcast) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (message.sender, recipient, message.body, message.at, size, message.origin, message.to == "*"),
    ).lastrowid
    if recipient == OPERATOR:
        log.append(connection, message.at, "operator_message", message.sender, {"id": id})
    return id or 0


def _has_room(connection: sqlite3.Connection, message: NewMessage, recipient: str, size: int, quota: Quota) -> bool:
    # What is in flight counts too: otherwise an agent that receives and never acknowledges fills the disk.
    count, total = connection.execute(_HELD, (recipient,)).fetchone()
    waiting, room = quota.room(message.sender)
    if total + size > room or (count >= waiting and count_waiting(connection, recipient) >= waiting):
        return False
    most, share = quota.share
    if message.sender == OPERATOR or (count < most and total + size <= share):
        return True  # the whole inbox is below one share
    return _has_share(connection, message, recipient, size, most, share)


_HELD = "SELECT count(*), coalesce(sum(size), 0) FROM messages WHERE recipient = ? AND acked_at IS NULL"


def _has_share(
    connection: sqlite3.Connection, message: NewMessage, recipient: str, size: int, most: int, share: int
) -> bool:
    # All labels of `wake` are one sender: a container may call itself anything.
    first, last = (WAKE, WAKE + "~") if message.origin == "wake" else (message.sender, message.sender)
    count, total = connection.execute(f"{_HELD} AND sender BETWEEN ? AND ?", (recipient, first, last)).fetchone()
    return bool(count < most and total + size <= share)


def deliver(connection: sqlite3.Connection, lease: Lease, at: int) -> Delivery | None:
    """Put the oldest waiting message in flight, under `lease`, and return it; None if no message waits."""
    lease.id = None
    row = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), attempts, CAST(origin AS BLOB), broadcast FROM messages "
        "WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL ORDER BY id LIMIT 1",
        (lease.agent,),
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE messages SET delivered_at = ?, attempts = attempts + 1, incarnation = ? WHERE id = ?",
        (at, lease.incarnation, row[0]),
    )
    lease.id = row[0]
    return delivery(row)


def release(connection: sqlite3.Connection, id: int, *, seen: bool) -> None:
    """Let a message wait again. Unless its receiver may have `seen` it, the delivery does not count as an attempt."""
    connection.execute(
        "UPDATE messages SET delivered_at = NULL, attempts = max(attempts - ?, 0) "
        "WHERE id = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL",
        (0 if seen else 1, id),
    )


def acknowledge(
    connection: sqlite3.Connection, recipient: str, at: int, quota: Quota, leases: Iterable[Lease] = ()
) -> int:
    """Mark every message in flight as done, except those under `leases`. Returns how many."""
    count = connection.execute(
        "UPDATE messages SET acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (at, recipient, _ids(leases)),
    ).rowcount
    if count:
        _prune(connection, recipient, quota)
    return count


def acknowledge_oldest(connection: sqlite3.Connection, recipient: str, at: int, quota: Quota) -> None:
    """Mark old messages in flight as done, for a receiver that never acknowledges and so would fill its inbox.

    The newest stay in flight: UNACKNOWLEDGED_KEPT messages, with at most half of the quota's bytes.
    """
    rows = connection.execute(
        "SELECT id, size FROM messages "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "ORDER BY id DESC",
        (recipient,),
    )
    total = 0
    for place, (id, size) in enumerate(rows):
        total += size
        if place >= UNACKNOWLEDGED_KEPT or total > quota.size // 2:
            rows.close()
            connection.execute(
                "UPDATE messages SET acked_at = ? WHERE recipient = ? AND delivered_at IS NOT NULL "
                "AND acked_at IS NULL AND dead_at IS NULL AND id <= ?",
                (at, recipient, id),
            )
            _prune(connection, recipient, quota)
            return


def requeue(
    connection: sqlite3.Connection, recipient: str, at: int, leases: Iterable[Lease], events: int
) -> tuple[int, int]:
    """Let every message in flight wait again, except those under `leases`. `attempts` stays: the next is a redelivery.

    A message that had its last attempt becomes a dead letter instead; the first `events` of them append an event.
    Returns how many wait again, and how many are dead letters now.
    """
    leased = _ids(leases)
    dead = connection.execute(
        "SELECT id, CAST(sender AS BLOB), attempts FROM messages "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL AND attempts >= ? "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (recipient, ATTEMPTS, leased),
    ).fetchall()
    for place, (id, sender, attempts) in enumerate(dead):
        connection.execute("UPDATE messages SET delivered_at = NULL, dead_at = ? WHERE id = ?", (at, id))
        if place < events:
            data = {"id": id, "from": decode_name(sender), "attempts": attempts}
            log.append(connection, at, "message_dead", recipient, data)
    again = connection.execute(
        "UPDATE messages SET delivered_at = NULL "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (recipient, leased),
    ).rowcount
    return again, len(dead)


def mark_read(connection: sqlite3.Connection, recipient: str, up_to: int, at: int, quota: Quota) -> int:
    """Mark waiting messages up to this id as done, without a delivery. Returns how many."""
    count = connection.execute(
        "UPDATE messages SET delivered_at = ?, acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL AND id <= ?",
        (at, at, recipient, up_to),
    ).rowcount
    _prune(connection, recipient, quota)
    return count


def acknowledges(connection: sqlite3.Connection, agent: str) -> bool:
    """Return True if a receiver of this inbox ever acknowledged or requeued. For others the next recv is the ack."""
    return connection.execute("SELECT 1 FROM receivers WHERE agent = ? AND acks", (agent,)).fetchone() is not None


def set_acknowledges(connection: sqlite3.Connection, agent: str) -> None:
    """Remember that receivers of this inbox acknowledge: from now on only ack_turn does."""
    connection.execute("INSERT INTO receivers (agent, acks) VALUES (?, 1) ON CONFLICT DO UPDATE SET acks = 1", (agent,))


def count_waiting(connection: sqlite3.Connection, recipient: str) -> int:
    """Return how many messages wait in one inbox."""
    query = "SELECT count(*) FROM messages WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL"
    return int(connection.execute(query, (recipient,)).fetchone()[0])


def count_all_waiting(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many messages wait in each inbox that has any."""
    rows = connection.execute(
        "SELECT CAST(recipient AS BLOB), count(*) FROM messages "
        "WHERE delivered_at IS NULL AND dead_at IS NULL GROUP BY recipient"
    )
    return {decode_name(recipient): count for recipient, count in rows}


def delete(connection: sqlite3.Connection, recipient: str) -> None:
    """Remove an inbox with its messages, and what is remembered about its receivers and senders."""
    connection.execute("DELETE FROM messages WHERE recipient = ?", (recipient,))
    connection.execute("DELETE FROM message_keys WHERE recipient = ?1 OR sender = ?1", (recipient,))
    connection.execute("DELETE FROM receivers WHERE agent = ?", (recipient,))


def _ids(leases: Iterable[Lease]) -> str:
    return json.dumps([each.id for each in leases if each.id is not None])


def _prune(connection: sqlite3.Connection, recipient: str, quota: Quota) -> None:
    """Delete the oldest done messages until at most DONE_KEPT of them, with at most the quota's bytes, are left."""
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages WHERE recipient = ? AND acked_at IS NOT NULL",
        (recipient,),
    ).fetchone()
    while count > DONE_KEPT or total > quota.size:
        id, size = connection.execute(
            "SELECT id, size FROM messages WHERE recipient = ? AND acked_at IS NOT NULL ORDER BY id LIMIT 1",
            (recipient,),
        ).fetchone()
        connection.execute("DELETE FROM messages WHERE id = ?", (id,))
        count, total = count - 1, total - size
