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
from reconciler.egress.share import EVENTS, REQUEST, Share

CHUNK = 65_536
HEAD_LIMIT = 65_536
"""Bytes of a request's head."""
HEAD_LINES = 128
PIECE = 4096
"""Bytes of a body in chunks that h11 gets at once, or holds: not many headers can be behind the last chunk."""
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

    def __init__(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], share: Share, head: bytes = b""
    ) -> None:
        self.reader, self.writer = streams
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=PIECE)
        self._share = share
        self._rest = head
        """What was read and h11 does not have yet."""
        self._most = CHUNK
        """Bytes of the request's body that are read at once."""
        self._has_ended = False
        """The end of the request's body was read."""

    async def request(self) -> h11.Request | None:
        """Return the head of the next request; None if the agent ended the connection. Raise Denied or Gone."""
        head = await self._head()
        if head is None:
            return None
        await self._share.turn()
        self._share.spend(REQUEST)
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
        self._share.spend(len(event.headers))
        self._most = PIECE if any(name == b"transfer-encoding" for name, _ in event.headers) else CHUNK
        if self._rest:
            self.http.receive_data(self._take_ahead(self._most))
        return event

    def ready(self) -> bytes:
        """Return what has come of the request's body, as far as h11 has it. Do not wait."""
        with contextlib.suppress(h11.RemoteProtocolError):  # `body` raises it again
            return self._parse()
        return b""

    async def body(self) -> bytes | None:
        """Return the next bytes of the request's body, None at its end. Raise Denied or Gone."""
        try:
            while not self._has_ended:
                await self._share.turn()
                if data := self._parse():
                    return data
                if not self._has_ended:
                    async with asyncio.timeout(BODY_SECONDS):
                        self.http.receive_data(await self._read(self._most))
        except h11.RemoteProtocolError as error:
            if self.reader.at_eof():
                raise Gone from error
            raise _bad("no-clean-http-in-the-body") from error
        except TimeoutError as error:
            raise Gone from error
        return None

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
        return self.http.trailing_data[0] + self._rest

    def start_next(self) -> bool:
        """Return True if another request may come. What was read of it is kept."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        self._rest = self.take_rest()
        self._has_ended = False
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=PIECE)
        return True

    async def linger(self) -> None:
        """End our side, and read what the agent still sends: closed at once, it would get a reset and no answer."""
        rest = LINGER_BYTES
        with contextlib.suppress(OSError, TimeoutError, Gone):
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while rest > 0 and (data := await self._read(CHUNK)):
                    rest -= len(data)

    def _parse(self) -> bytes:
        """Return the next bytes of the body that h11 has, "" if it needs more or the body ended."""
        pieces: list[bytes] = []
        while len(pieces) < EVENTS:
            self._share.spend(1)
            event = self.http.next_event()
            if not isinstance(event, h11.Data):
                self._has_ended = event is not h11.NEED_DATA
                break
            pieces.append(bytes(event.data))
        return b"".join(pieces)

    def _take_ahead(self, most: int) -> bytes:
        data, self._rest = self._rest[:most], self._rest[most:]
        return data

    async def _head(self) -> bytes | None:
        """Return the bytes of the next head. None if the agent ended the connection, or idled for too long."""
        held = bytearray(self._take_ahead(len(self._rest)))
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
        if self._rest:
            return self._take_ahead(most)
        try:
            return await self.reader.read(most)
        except OSError as error:
            raise Gone from error


def head_fault(head: bytes) -> str:
    """Return what is unclean in a request's head, "" if nothing is. h11 checks the rest."""
    lines = head[: -len(_END)].split(b"\r\n")
    if len(head) > HEAD_LIMIT:
        return "a-head-that-is-too-long"
    if len(lines) > HEAD_LINES:
        return f"more-than-{HEAD_LINES}-headers"
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
