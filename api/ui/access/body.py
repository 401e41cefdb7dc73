"""The body of a request, read within bounds before the application gets it: a field of a form has the CSRF token."""

from __future__ import annotations

from api.http.asgi import Message, Receive

BODY_LIMIT = 4 * 2**20
"""Bytes of a form: a message of 1 MiB is up to three times as long in one."""
FIELDS = 2_000
"""Fields of a form, at most."""
OPEN_LIMIT = 64 * 2**10
"""Bytes of a body from a peer without a login."""


class TooLong(Exception):
    """The body has more bytes than it may have."""


class Gone(Exception):
    """The peer has disconnected, or the listener has ended a connection that is too slow."""


async def read(receive: Receive, limit: int) -> bytes:
    """Return a request's body of at most `limit` bytes. Raise TooLong, Gone."""
    parts: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        part = message.get("body", b"")
        length += len(part)
        if length > limit:
            raise TooLong
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` first, then what comes after it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again
