"""The name of a ClientHello (RFC 8446 4.1.2, RFC 6066 3). Nothing else of TLS is read, and nothing is opened."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.egress.limits import HELLO_LIMIT

ALERT = bytes.fromhex("15030300020270")
"""unrecognized_name, fatal: tools show it as an error of TLS, not as a lost connection."""

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0
_RECORD_LIMIT = 16_384
_MESSAGE_LIMIT = HELLO_LIMIT - 1024


class NotHello(Exception):
    """Bytes that are no ClientHello."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A whole ClientHello. `name` is its SNI, "" if it has none."""

    name: str


def looks_like_tls(data: bytes | bytearray) -> bool | None:
    """Return True if bytes begin like a record of a TLS handshake, None if there are too few to say."""
    if data[:1] != b"\x16":
        return False if data else None
    return None if len(data) < 2 else data[1] == 3


class HelloReader:
    """Reads a ClientHello that comes in parts, perhaps in many records. Each byte is looked at once."""

    def __init__(self) -> None:
        self._size = 0
        self._record = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> Hello | None:
        """Return the ClientHello once it is whole, None while more bytes are needed. Raise NotHello.

        What follows it is not looked at.
        """
        self._size += len(data)
        self._record += data
        while self._take_record():
            if len(self._message) >= 4 and len(self._message) >= _length(self._message) + 4:
                return Hello(_name(_Reader(bytes(self._message[4 : _length(self._message) + 4]))))
        if self._size > HELLO_LIMIT:
            raise NotHello(f"a ClientHello of more than {HELLO_LIMIT} bytes")
        return None

    def _take_record(self) -> bool:
        """Move the content of a whole record into the message. Return False if there is none."""
        _check_record(self._record[:5])
        if len(self._record) < 5:
            return False
        size = int.from_bytes(self._record[3:5], "big")
        if not 0 < size <= _RECORD_LIMIT:
            raise NotHello(f"a record of {size} bytes")
        if len(self._record) < 5 + size:
            return False
        self._message += self._record[5 : 5 + size]
        del self._record[: 5 + size]
        if self._message[:1] != bytes([_CLIENT_HELLO]):
            raise NotHello("a handshake that does not begin with a ClientHello")
        if len(self._message) >= 4 and _length(self._message) > _MESSAGE_LIMIT:
            raise NotHello(f"a ClientHello of {_length(self._message)} bytes")
        return True


def _check_record(head: bytearray) -> None:
    kind, major, minor = bytes(head[:1]), bytes(head[1:2]), bytes(head[2:3])
    if kind not in (b"", bytes([_HANDSHAKE])) or major not in (b"", b"\x03") or minor > b"\x04":
        raise NotHello("no record of a handshake")


def _length(message: bytearray) -> int:
    return int.from_bytes(message[1:4], "big")


class _Reader:
    """Bytes that are read from the front. Every length is checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise NotHello("a length that goes beyond its end")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> _Reader:
        return _Reader(self.take(self.number(size)))


def _name(body: _Reader) -> str:
    """Return the SNI of the body of a ClientHello, "" if it has none."""
    body.take(2 + 32)
    body.block(1)  # session id
    body.block(2)  # cipher suites
    body.block(1)  # compression methods
    if not body.left:
        return ""
    extensions = body.block(2)
    if body.left:
        raise NotHello("bytes behind the extensions")
    names = []
    while extensions.left:
        kind, content = extensions.number(2), extensions.block(2)
        if kind == _SERVER_NAME:
            names.append(_server_name(content))
    if len(names) > 1:
        raise NotHello("two server names")
    return names[0] if names else ""


def _server_name(content: _Reader) -> str:
    entries = content.block(2)
    kind, name = entries.number(1), entries.block(2)
    if kind != _HOST_NAME or entries.left or content.left:
        raise NotHello("a server name that is not one host's")
    text = name.take(name.left)
    if not text or not text.isascii():
        raise NotHello("a server name that is not ASCII")
    return text.decode("ascii")
