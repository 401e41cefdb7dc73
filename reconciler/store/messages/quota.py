"""The quota of an inbox: its room for all senders, and for one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from meta.config import INBOX_BYTES, INBOX_LIMIT
from meta.names import OPERATOR
from meta.wire.limits import BODY_BYTES
from reconciler.store.messages.lists import count_waiting
from reconciler.store.messages.text import WAKE

LEAST_SHARE = 25
LEAST_SHARE_BYTES = 2**20
"""The smallest share of one sender. With less, one allowed message could be refused in a small inbox."""

RESERVED_FROM = 8 * 2**20
"""The size of an inbox, in bytes, from which on a part of it is reserved for the operator."""

_ALL = ""
"""The sender of the totals of all senders."""


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
        """Return the messages that are not done, in number and bytes, that one sender may have.

        At least LEAST_SHARE_BYTES.
        """
        return max(self.waiting // 4, LEAST_SHARE), max(self.size // 4, LEAST_SHARE_BYTES)

    def room(self, sender: str) -> tuple[int, int]:
        """Return how many messages and bytes the inbox takes from this sender. The last eighth is the operator's."""
        if sender == OPERATOR:
            return self.waiting, self.size
        return self.waiting - self.waiting // 8, self.size - (self.size // 8 if self.size >= RESERVED_FROM else 0)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of an inbox that one message of `size` bytes would take. `wake`: it came in by `wake`."""

    sender: str
    wake: bool
    size: int


def has_room(connection: sqlite3.Connection, recipient: str, part: Part, quota: Quota) -> bool:
    """Return True if the inbox has room for the message: of all senders together, and of this one."""
    # What is in flight counts too: otherwise an agent that receives and never acknowledges fills the disk.
    # All labels of `wake` are one sender: a container may call itself anything.
    who = WAKE if part.wake else part.sender
    totals = _totals(connection, recipient, who)
    count, total = totals.get(_ALL, (0, 0))
    waiting, room = quota.room(part.sender)
    if total + part.size > room or (count >= waiting and count_waiting(connection, recipient) >= waiting):
        return False
    most, share = quota.share
    if part.sender == OPERATOR or (count < most and total + part.size <= share):
        return True  # the whole inbox is below one share
    count, total = totals.get(who, (0, 0))
    return bool(count < most and total + part.size <= share)


def _totals(connection: sqlite3.Connection, recipient: str, sender: str) -> dict[str, tuple[int, int]]:
    """Return the messages that an inbox holds, in number and bytes: of all senders (_ALL) and of one."""
    query = "SELECT sender, messages, size FROM inbox_totals WHERE recipient = ? AND sender IN (?, ?)"
    return {who: (count, size) for who, count, size in connection.execute(query, (recipient, _ALL, sender)).fetchall()}
