"""The rows of messages from send to ack, as functions of a connection. Each is (part of) a transaction.

waiting: neither delivered nor dead; in flight: delivered, not acknowledged; done: acknowledged; dead: see lists.py.
Texts are read as bytes. So a damaged row is shown (text.py) and does not hide the others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meta.names import OPERATOR
from reconciler.store.events import log
from reconciler.store.messages.quota import Part, Quota, has_room
from reconciler.store.messages.text import Delivery, delivery
from reconciler.store.notices import LEAST_SIZE, key_used, use_key

DONE_KEPT = 1_000
"""Messages per inbox that are kept after they are done, so that `recent` can list them."""

MISSED_NAMED = 50
"""Names in the event about recipients that a broadcast did not reach, at most."""

UNACKNOWLEDGED_KEPT = 100
"""The newest messages that stay in flight for a receiver that never acknowledges. Older ones are done."""


_OLDEST = (
    "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), attempts, CAST(origin AS BLOB), broadcast, failed "
    "FROM messages WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL"
)


@dataclass(slots=True, eq=False)
class Lease:
    """One attempt to deliver a message, until its receiver has it. Acks and requeues skip a leased message.

    `id` is set in the writer's thread, because an ack that runs after this attempt must skip that message. `last` is
    delivered only if no other message waits.
    """

    agent: str
    incarnation: str | None
    id: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that was sent, for each of `recipients`.

    `to` is the recipient as the sender named it: an agent, or '*'. `quiet`: append no event about recipients that a
    broadcast does not reach.
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
    others got the broadcast. `deliveries`: the deliveries to waiting receivers in the same transaction, by agent.
    """

    id: int
    full: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    deliveries: Mapping[str, Delivery] | None = None


def accept(connection: sqlite3.Connection, message: NewMessage, quota: Quota, leases: Mapping[str, Lease]) -> Accepted:
    """Store a message in every inbox that has room. Deliver to each waiting receiver the oldest message of its inbox.

    A broadcast that does not reach all recipients appends an event, unless `message.quiet`.
    """
    if message.key is not None:
        before = key_used(connection, message.sender, message.to, message.key)
        if before is not None:
            return Accepted(before)
    size = max(LEAST_SIZE, len(message.body.encode()))
    part = Part(message.sender, message.origin == "wake", size)
    reached = [each for each in message.recipients if has_room(connection, each, part, quota)]
    missed = tuple(each for each in message.recipients if each not in reached)
    if not reached:
        return Accepted(0, missed)
    ids = [_insert(connection, message, recipient, size) for recipient in reached]
    if missed and not message.quiet:
        _report_missed(connection, message, ids[0], missed)
    if message.key is not None:
        use_key(connection, message.sender, message.to, message.key, ids[0], message.at)
    return Accepted(ids[0], missed=missed, deliveries=_deliver_all(connection, leases, message.at))


def _deliver_all(connection: sqlite3.Connection, leases: Mapping[str, Lease], at: int) -> dict[str, Delivery]:
    deliveries = {agent: deliver(connection, lease, at) for agent, lease in leases.items()}
    return {agent: delivered for agent, delivered in deliveries.items() if delivered is not None}


def _report_missed(connection: sqlite3.Connection, message: NewMessage, id: int, missed: Sequence[str]) -> None:
    agent = None if message.sender == OPERATOR else message.sender
    data = {"id": id, "missed": list(missed[:MISSED_NAMED]), "count": len(missed)}
    log.append(connection, message.at, "broadcast_missed", agent, data)


def _insert(connection: sqlite3.Connection, message: NewMessage, recipient: str, size: int) -> int:
    id = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at, size, origin, broadcast) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (message.sender, recipient, message.body, message.at, size, message.origin, message.to == "*"),
    ).lastrowid
    if recipient == OPERATOR:
        log.append(connection, message.at, "operator_message", message.sender, {"id": id})
    return id or 0


def deliver(connection: sqlite3.Connection, lease: Lease, at: int) -> Delivery | None:
    """Put the oldest waiting message in flight, under `lease`, and return it.

    Return None if no message waits, or if the oldest has to wait until nothing else is in flight: a message with a
    failed turn is delivered alone, so that its turn shows whether it is the cause.
    """
    lease.id = None
    row = None
    if lease.last is not None:
        row = connection.execute(f"{_OLDEST} AND id <> ? ORDER BY id LIMIT 1", (lease.agent, lease.last)).fetchone()
    if row is None:
        row = connection.execute(f"{_OLDEST} ORDER BY id LIMIT 1", (lease.agent,)).fetchone()
    if row is None or _must_wait(connection, lease.agent, failed=row[6] > 0):
        return None
    connection.execute(
        "UPDATE messages SET delivered_at = ?, attempts = attempts + 1, incarnation = ? WHERE id = ?",
        (at, lease.incarnation, row[0]),
    )
    lease.id = row[0]
    return delivery((row[0], row[1], row[2], row[3], row[4], row[5]))


def _must_wait(connection: sqlite3.Connection, recipient: str, *, failed: bool) -> bool:
    """Return True while what is in flight forbids the next delivery, of a message that has `failed` turns or not."""
    query = (
        "SELECT 1 FROM messages WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL "
        "AND dead_at IS NULL AND (? OR failed > 0) LIMIT 1"
    )
    return connection.execute(query, (recipient, failed)).fetchone() is not None


def release(connection: sqlite3.Connection, id: int, *, seen: bool) -> None:
    """Requeue a message.

    Unless its receiver may have `seen` it, the delivery does not count as an attempt.
    """
    connection.execute(
        "UPDATE messages SET delivered_at = NULL, attempts = max(attempts - ?, 0) "
        "WHERE id = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL",
        (0 if seen else 1, id),
    )


def acknowledge(
    connection: sqlite3.Connection, recipient: str, at: int, quota: Quota, leases: Iterable[Lease] = ()
) -> int:
    """Mark every message in flight as done, except those under `leases`. Return how many."""
    count = connection.execute(
        "UPDATE messages SET acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (at, recipient, ids_of(leases)),
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


def mark_read(connection: sqlite3.Connection, recipient: str, up_to: int, at: int, quota: Quota) -> int:
    """Mark waiting messages up to this id as done, without a delivery. Return how many."""
    count = connection.execute(
        "UPDATE messages SET delivered_at = ?, acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL AND id <= ?",
        (at, at, recipient, up_to),
    ).rowcount
    _prune(connection, recipient, quota)
    return count


def mark_these_read(connection: sqlite3.Connection, recipient: str, ids: Sequence[int], at: int, quota: Quota) -> int:
    """Mark the waiting messages among `ids` as done, without a delivery. Return how many."""
    count = connection.execute(
        "UPDATE messages SET delivered_at = ?, acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL AND id IN (SELECT value FROM json_each(?))",
        (at, at, recipient, json.dumps(list(ids))),
    ).rowcount
    _prune(connection, recipient, quota)
    return count


def acknowledges(connection: sqlite3.Connection, agent: str) -> bool:
    """Return True if a receiver of this inbox ever acknowledged or requeued.

    For other inboxes the next recv counts as the ack.
    """
    return connection.execute("SELECT 1 FROM receivers WHERE agent = ? AND acks", (agent,)).fetchone() is not None


def set_acknowledges(connection: sqlite3.Connection, agent: str) -> None:
    """Record that receivers of this inbox acknowledge. From now on only ack_turn acknowledges."""
    connection.execute("INSERT INTO receivers (agent, acks) VALUES (?, 1) ON CONFLICT DO UPDATE SET acks = 1", (agent,))


def delete(connection: sqlite3.Connection, recipient: str) -> None:
    """Remove an inbox with its messages, and what is remembered about its receivers and senders."""
    connection.execute("DELETE FROM messages WHERE recipient = ?", (recipient,))
    connection.execute("DELETE FROM message_keys WHERE recipient = ?1 OR sender = ?1", (recipient,))
    connection.execute("DELETE FROM receivers WHERE agent = ?", (recipient,))


def ids_of(leases: Iterable[Lease]) -> str:
    """Return the ids of leased messages, as a JSON list."""
    return json.dumps([each.id for each in leases if each.id is not None])


def _prune(connection: sqlite3.Connection, recipient: str, quota: Quota) -> None:
    """Delete the oldest done messages.

    At most DONE_KEPT of them stay, with at most the quota's bytes.
    """
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages INDEXED BY messages_done "
        "WHERE recipient = ? AND acked_at IS NOT NULL",
        (recipient,),
    ).fetchone()
    while count > DONE_KEPT or total > quota.size:
        id, size = connection.execute(
            "SELECT id, size FROM messages WHERE recipient = ? AND acked_at IS NOT NULL ORDER BY id LIMIT 1",
            (recipient,),
        ).fetchone()
        connection.execute("DELETE FROM messages WHERE id = ?", (id,))
        count, total = count - 1, total - size
