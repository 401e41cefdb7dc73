"""Texts of the broker: what may go in, and how what is stored is shown, damaged or not."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass

from meta.errors import BadInput
from meta.names import MANAGER, RESERVED

logger = logging.getLogger(__name__)

BROADCAST_MARK = "[broadcast] "
"""What the body of a message to all begins with where it is read."""

KEY_LIMIT = 200
"""Characters of a key against double sends."""

_LABEL = re.compile(r"[A-Za-z0-9._-]{1,40}")
"""What a `wake` says it is from."""

WAKE = "wake:"
UNVERIFIED = "operator:unverified"
"""Who an `operator_msg` over an agent's own socket is from."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as handed out. `redelivered`: it was handed out before, and may have been handled already.

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
    """One message as listed. `at`: when it was accepted, in Unix seconds. The rest as in Delivery."""

    id: int
    sender: str
    body: str
    at: int
    origin: str = "peer"
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was handed out `attempts` times and never acked. Times in Unix seconds."""

    id: int
    sender: str
    recipient: str
    body: str
    at: int
    attempts: int
    dead_at: int


def shown(id: int, sender: bytes, body: bytes, *, broadcast: bool) -> tuple[str, str]:
    """Sender and body of a row, both read as bytes. What is no UTF-8 is told in its place, and logged."""
    try:
        return sender.decode(), (BROADCAST_MARK if broadcast else "") + body.decode()
    except UnicodeDecodeError as error:
        logger.error("message %d is damaged in the database: %s", id, error)
        text = f"[hive: message {id} is damaged in the database: its {len(body)} bytes are no UTF-8; tell the operator]"
        return name(sender), text


def name(stored: bytes) -> str:
    """A stored name; where it is damaged, something that no real name equals."""
    return stored.decode(errors="replace")


def check_body(body: str, limit: int) -> None:
    """BadInput when `body` has over `limit` bytes in UTF-8, or is no text."""
    try:
        size = len(body.encode())
    except UnicodeEncodeError as error:
        raise BadInput("the body is no valid text: it has a lone surrogate", "send well-formed Unicode") from error
    if size > limit:
        raise BadInput(
            f"the body has {size} bytes, the limit is {limit}",
            "put it into a file and send the path, or send it in parts",
        )


def check_mark(body: str) -> None:
    """BadInput when a body to one begins like one to all."""
    if body.lstrip().casefold().startswith(BROADCAST_MARK.strip()):
        raise BadInput(
            f"a message to one cannot begin with {BROADCAST_MARK.strip()!r}: that is how hive marks one to all",
            "send it to '*', or begin it with another word",
        )


def check_key(key: str) -> None:
    """BadInput when `key` cannot be kept."""
    if not 0 < len(key) <= KEY_LIMIT or any(unicodedata.category(each) in ("Cc", "Cs") for each in key):
        raise BadInput(f"a key has 1 to {KEY_LIMIT} characters, none of them a control character", "use a UUID")


def check_label(label: str) -> None:
    """BadInput when a `wake` may not call itself that (agents' names are the caller's to check)."""
    if not _LABEL.fullmatch(label):
        raise BadInput(
            "a wake is from something of 1 to 40 of the characters A-Z a-z 0-9 . _ -",
            "name the program that calls, like 'matrix' or 'github'",
        )
    plain = re.sub(r"[._-]", "", label.casefold()).replace("0", "o")
    if plain in {*RESERVED, MANAGER} or "operator" in plain:
        raise BadInput(f"a wake cannot be from {label!r}: that name is reserved", "name the program that calls")


def delivery(row: tuple[int, bytes, bytes, int, bytes, int]) -> Delivery:
    """From id, sender, body, attempts before this one, origin, broadcast."""
    sender, body = shown(row[0], row[1], row[2], broadcast=bool(row[5]))
    return Delivery(row[0], sender, body, row[3] > 0, name(row[4]), bool(row[5]))


def listed(row: tuple[int, bytes, bytes, int, bytes, int]) -> InboxMessage:
    """From id, sender, body, at, origin, broadcast."""
    sender, body = shown(row[0], row[1], row[2], broadcast=bool(row[5]))
    return InboxMessage(row[0], sender, body, row[3], name(row[4]), bool(row[5]))
