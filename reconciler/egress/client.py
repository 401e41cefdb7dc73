"""The agent's end of an HTTP connection: one request after the other, each read strictly.

Each request is written anew for the other side, so what an agent means as two requests can never be one here and two
there. What servers are known to read differently is refused all the same: there is no honest use of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

import h11

from meta.network.verdict import Verdict
from reconciler.egress.ports import Denied

CHUNK = 65_536
HEAD_LIMIT = 65_536
"""Bytes of a request's head."""
KEEP_SECONDS = 900.0
"""Seconds that a connection may idle between two requests: the time between two turns of an agent."""
HEAD_SECONDS = 30.0
BODY_SECONDS = 120.0
"""Seconds without a byte of a request's body."""
LINGER_BYTES = 16 * 2**20
LINGER_SECONDS = 5.0
"""How much, and how long, an agent that was refused may go on sending before it is cut off."""

_END = b"\r\n\r\n"
_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding"})
_DIGITS = re.compile(rb"[0-9]{1,18}")


class Gone(Exception):
    """The agent ended the connection, or takes too long."""


class Client:
    """The connection. `head` are bytes of it that were read already."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], head: bytes = b"") -> None:
        self.reader, self.writer = streams
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._rest = head
        self._has_ended = False
        """The end of the request's body was read."""

    async def request(self) -> h11.Request | None:
        """Return the head of the next request; None if the agent ended the connection. Raise Denied or Gone."""
        head = await self._head()
        if head is None:
            return None
        if fault := head_fault(head):
            raise _bad(fault)
        self.http.receive_data(head)
        try:
            event = self.http.next_event()
        except h11.RemoteProtocolError as error:
            raise _bad("no-clean-http") from error
        if not isinstance(event, h11.Request):
            raise _bad("no-clean-http")
        if event.method == b"CONNECT":
            raise _bad("a-CONNECT-behind-another-request")
        if self._rest:
            self.http.receive_data(self._rest)
            self._rest = b""
        return event

    def ready(self) -> bytes:
        """Return what has come of the request's body, as far as h11 has it in one piece. Do not wait."""
        with contextlib.suppress(h11.RemoteProtocolError):  # `body` raises it again
            event = self.http.next_event()
            self._has_ended = isinstance(event, h11.EndOfMessage)
            if isinstance(event, h11.Data):
                return bytes(event.data)
        return b""

    async def body(self) -> bytes | None:
        """Return the next bytes of the request's body, None at its end. Raise Denied or Gone."""
        if self._has_ended:
            return None
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(BODY_SECONDS):
                    self.http.receive_data(await self._read(CHUNK))
        except h11.RemoteProtocolError as error:
            if self.reader.at_eof():
                raise Gone from error
            raise _bad("no-clean-http-in-the-body") from error
        except TimeoutError as error:
            raise Gone from error
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def watch(self) -> None:
        """Raise Gone once the agent is gone, also if it only ended its side.

        What it sends meanwhile is of its next requests. Of those no more is read than one may have as head.
        """
        rest = HEAD_LIMIT
        while rest > 0:
            data = await self._read(rest)
            if not data:
                raise Gone
            self.http.receive_data(data)
            rest -= len(data)

    async def send(self, *events: h11.Event) -> None:
        """Write the events, no faster than the agent reads. Raise Gone."""
        await self.write(b"".join(self.http.send(event) or b"" for event in events))

    async def write(self, data: bytes) -> None:
        """Write bytes, no faster than the agent reads. Raise Gone."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as error:
            raise Gone from error

    def take_rest(self) -> bytes:
        """Return what was read and is not of this request."""
        return self.http.trailing_data[0]

    def start_next(self) -> bool:
        """Return True if another request may come. What was read of it is kept."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        self._rest = self.take_rest()
        self._has_ended = False
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        return True

    async def linger(self) -> None:
        """End our side, and read what the agent still sends: closed at once, it would get a reset and no answer."""
        rest = LINGER_BYTES
        with contextlib.suppress(OSError, TimeoutError, Gone):
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while rest > 0 and (data := await self._read(CHUNK)):
                    rest -= len(data)

    async def _head(self) -> bytes | None:
        """Return the bytes of the next head. None if the agent ended the connection, or idled for too long."""
        held = bytearray(self._rest)
        try:
            if not held:
                async with asyncio.timeout(KEEP_SECONDS):
                    held += await self._read(CHUNK)
            async with asyncio.timeout(HEAD_SECONDS):
                searched = 0
                while (end := held.find(_END, searched)) < 0:
                    if len(held) > HEAD_LIMIT:
                        raise _bad("a-head-that-is-too-long")
                    searched = max(0, len(held) - len(_END))
                    data = await self._read(CHUNK)
                    if not data:
                        return None
                    held += data
        except TimeoutError:
            return None
        self._rest = bytes(held[end + len(_END) :])
        return bytes(held[: end + len(_END)])

    async def _read(self, most: int) -> bytes:
        try:
            return await self.reader.read(most)
        except OSError as error:
            raise Gone from error


def head_fault(head: bytes) -> str:
    """Return what is unclean in a request's head, "" if nothing is. h11 checks the rest."""
    lines = head[: -len(_END)].split(b"\r\n")
    if len(head) > HEAD_LIMIT:
        return "a-head-that-is-too-long"
    if any(b"\n" in line or b"\r" in line for line in lines):
        return "a-line-that-does-not-end-in-CR-LF"
    if any(line[:1] in (b" ", b"\t") for line in lines):
        return "a-folded-header"
    if not lines[0].endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return "no-HTTP/1.1"
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
    names = [name for name, _ in pairs if name in _ONCE]
    if len(names) != len(set(names)):
        return "a-header-twice"
    headers = dict(pairs)
    if b"transfer-encoding" in headers:
        if b"content-length" in headers:
            return "both-content-length-and-transfer-encoding"
        if headers[b"transfer-encoding"].lower() != b"chunked" or lines[0].endswith(b"1.0"):
            return "an-unknown-transfer-encoding"
    if not _DIGITS.fullmatch(headers.get(b"content-length", b"0")):
        return "an-unclean-content-length"
    return ""


def _bad(fault: str) -> Denied:
    return Denied(Verdict.BAD_REQUEST, f"bad-request ({fault})")
