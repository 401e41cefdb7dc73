"""Limits on a request's body, and how to answer one that exceeds them.

has_too_many_values   the SDK parses every body on the loop, so the number of values in it is limited
LongBody              the ends of a body that has too many bytes; the request is answered by a short one in its place
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping

MAX_VALUES = 10_000
"""Values of one request. A tool call has a few dozen; a long text counts as one."""
READ_FACTOR = 8
"""Read up to this many times the limit, so that the error can name the request. Longer bodies are not read."""
END_BYTES = 4096
"""Bytes that are kept of each end of a long body."""

_ID = rb'"id"\s*:\s*(-?[0-9]{1,15}|"[^"\\]{0,100}")'
_CALL = re.compile(rb'"method"\s*:\s*"tools/call"')
_HEAD = re.compile(rb'\s*\{(?:\s*"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*,)*\s*' + _ID + rb"\s*,")
_TAIL = re.compile(rb",\s*" + _ID + rb'\s*(?:,\s*"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*)*\}\s*\Z')
_VERSION = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


async def has_too_many_values(body: bytes) -> bool:
    """Return True if `body` is JSON with more than MAX_VALUES values.

    The SDK itself reports a body that is not JSON.
    """
    if body.count(b",") <= MAX_VALUES:
        return False
    return await asyncio.to_thread(_exceeds, body)  # it may be one text with many commas


def _exceeds(body: bytes) -> bool:
    try:
        layer: list[object] = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    count = 0
    while layer and count <= MAX_VALUES:
        count += len(layer)
        layer = [child for item in layer for child in _children(item)]
    return count > MAX_VALUES


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []


class LongBody:
    """The beginning and the end of a body that arrives in parts. The request's id is in one of them."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

    def add(self, part: bytes | bytearray) -> None:
        """Add the next part."""
        self._head += bytes(part[: END_BYTES - len(self._head)])
        self._tail = (self._tail + bytes(part[-END_BYTES:]))[-END_BYTES:]

    def substitute(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """Return a short call with the same id and without arguments. Return None if the body is not a call with a
        visible id.

        The SDK answers that call in the protocol version that `headers` name. The tool then reports the limit.
        """
        id = _HEAD.match(self._head) or _TAIL.search(self._tail)
        if id is None or not (_CALL.search(self._head) or _CALL.search(self._tail)):
            return None
        name = headers.get(b"mcp-name", b"unread").decode("latin-1")
        version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        meta = {"_meta": {_VERSION: version, _CAPABILITIES: {}}} if b"mcp-method" in headers else {}
        params = {"name": name, "arguments": {}, **meta}
        return json.dumps(
            {"jsonrpc": "2.0", "id": json.loads(id[1]), "method": "tools/call", "params": params}
        ).encode()
