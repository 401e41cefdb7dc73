"""Texts of messages: the checks of what is sent, and the decoding of what is stored, damaged or not."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass

from meta.errors import BadInput
from meta.names import MANAGER, RESERVED

logger = logging.getLogger(__name__)

BROADCAST_MARK = "[broadcast] "
"""The body of a broadcast begins with this when it is read."""

KEY_LIMIT = 200
"""Characters of a key that makes a send safe to repeat."""

_LABEL = re.compile(r"[A-Za-z0-9._-]{1,40}")
"""The label of a `wake`: the name of the program that calls."""

WAKE = "wake:"
UNVERIFIED = "operator:unverified"
"""The sender of an `operator_msg` that came in on an agent's own socket."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as delivered. `redelivered`: it was delivered before, and may have been handled already.

    `origin`: peer, operator, socket, wake or system. `body` begins with BROADCAST_MARK when `broadcast` is set.
    """

    id: int
    sender: str
    body: str
    redelivered: bool
    origin: str = "peer"
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One message of a list. `at`: when it was accepted, in Unix seconds. The other fields are those of Delivery.

    `unread`: it waits, not taken and not marked as read.
    """

    id: int
    sender: str
    body: str
    at: int
    origin: str = "peer"
    broadcast: bool = False
    unread: bool = True


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was delivered `attempts` times and never acknowledged. Times are Unix seconds."""

    id: int
    sender: str
    recipient: str
    body: str
    at: int
    attempts: int
    dead_at: int


@dataclass(frozen=True, slots=True)
class DeadLetterHead:
    """A dead letter without its body. The time is in Unix seconds."""

    id: int
    sender: str
    recipient: str
    dead_at: int


def decode(id: int, sender: bytes, body: bytes, *, broadcast: bool) -> tuple[str, str]:
    """Return sender and body of a row that was read as bytes.

    A body that is not UTF-8 is replaced by an alarm, and logged.
    """
    try:
        return sender.decode(), (BROADCAST_MARK if broadcast else "") + body.decode()
    except UnicodeDecodeError as error:
        logger.error("message %d is damaged in the database: %s", id, error)
        alarm = f"message {id} is damaged in the database: its {len(body)} bytes are not UTF-8; tell the operator"
        return decode_name(sender), f"[hive: {alarm}]"


def decode_name(stored: bytes) -> str:
    """Return a stored name. A damaged one decodes to a text that equals no real name."""
    return stored.decode(errors="replace")


def check_body(body: str, limit: int) -> None:
    """Raise BadInput for a body that has over `limit` bytes in UTF-8, or is not valid text."""
    try:
        size = len(body.encode())
    except UnicodeEncodeError as error:
        raise BadInput("the body is not valid text: it has a lone surrogate", "send well-formed Unicode") from error
    if size > limit:
        raise BadInput(
            f"the body has {size} bytes, the limit is {limit}",
            "put it into a file and send the path, or send it in parts",
        )


def check_mark(body: str) -> None:
    """Raise BadInput for a body to one recipient that begins like a broadcast."""
    if body.lstrip().casefold().startswith(BROADCAST_MARK.strip()):
        raise BadInput(
            f"a message to one recipient cannot begin with {BROADCAST_MARK.strip()!r}: hive marks broadcasts with it",
            "send it to '*', or begin it with another word",
        )


def check_key(key: str) -> None:
    """Raise BadInput for a key that cannot be stored."""
    if not 0 < len(key) <= KEY_LIMIT or any(unicodedata.category(each) in ("Cc", "Cs") for each in key):
        raise BadInput(f"a key has 1 to {KEY_LIMIT} characters and no control characters", "use a UUID")


def check_label(label: str) -> None:
    """Raise BadInput for a label of `wake` that is malformed or reserved. The caller checks agents' names."""
    if not _LABEL.fullmatch(label):
        raise BadInput(
            "the label of a wake has 1 to 40 of the characters A-Z a-z 0-9 . _ -",
            "name the program that calls, like 'matrix' or 'github'",
        )
    plain = re.sub(r"[._-]", "", label.casefold()).replace("0", "o")
    if plain in {*RESERVED, MANAGER} or "operator" in plain:
        raise BadInput(f"a wake cannot be from {label!r}: that name is reserved", "name the program that calls")


def delivery(row: tuple[int, bytes, bytes, int, bytes, int]) -> Delivery:
    """Return the delivery of a row: id, sender, body, attempts before this one, origin, broadcast."""
    sender, body = decode(row[0], row[1], row[2], broadcast=bool(row[5]))
    return Delivery(row[0], sender, body, row[3] > 0, decode_name(row[4]), bool(row[5]))


def inbox_message(row: tuple[int, bytes, bytes, int, bytes, int, int]) -> InboxMessage:
    """Return the list entry of a row: id, sender, body, at, origin, broadcast, unread."""
    sender, body = decode(row[0], row[1], row[2], broadcast=bool(row[5]))
    return InboxMessage(row[0], sender, body, row[3], decode_name(row[4]), bool(row[5]), bool(row[6]))
