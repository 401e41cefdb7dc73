"""A call that is too long to be read: what of it is kept, so that the model gets an error which it understands.

The arguments are not kept; whose answer it is (the request's id) stands before or behind them. A short call in its
place goes on to the SDK, which answers as the peer's era of the protocol has it; the tool then says what was wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

ENDS = 4096
"""Bytes kept of each end of the body."""
MOST = 8
"""So many times the limit is read of a body, to be able to answer; of a longer one nothing is."""

_ID = rb'"id"\s*:\s*(-?[0-9]{1,15}|"[^"\\]{0,100}")'
_CALL = re.compile(rb'"method"\s*:\s*"tools/call"')
_HEAD = re.compile(rb'\s*\{(?:\s*"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*,)*\s*' + _ID + rb"\s*,")
_TAIL = re.compile(rb",\s*" + _ID + rb'\s*(?:,\s*"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*)*\}\s*\Z')
_VERSION = "io.modelcontextprotocol/protocolVersion"
_ABILITIES = "io.modelcontextprotocol/clientCapabilities"


class Overlong:
    """The beginning and the end of a body that comes in parts."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

    def add(self, part: bytes | bytearray) -> None:
        """One more part."""
        self._head += bytes(part[: ENDS - len(self._head)])
        self._tail = (self._tail + bytes(part[-ENDS:]))[-ENDS:]

    def substitute(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """A call without arguments with the same id and, by the request's `headers`, of the same era; None where the
        body was no call, or has no id that can be seen.
        """
        found = _HEAD.match(self._head) or _TAIL.search(self._tail)
        if found is None or not (_CALL.search(self._head) or _CALL.search(self._tail)):
            return None
        name = headers.get(b"mcp-name", b"unread").decode("latin-1")
        version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        modern = {"_meta": {_VERSION: version, _ABILITIES: {}}} if b"mcp-method" in headers else {}
        params = {"name": name, "arguments": {}, **modern}
        return json.dumps(
            {"jsonrpc": "2.0", "id": json.loads(found[1]), "method": "tools/call", "params": params}
        ).encode()
