"""The question to `hive-egress`, and its answer (meta.network.inside). What comes is bounded and checked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

from meta.errors import BadInput
from meta.network.inside import ANSWER_LIMIT, WAY_OUT
from meta.network.routes import KINDS
from meta.network.rule import authority, canonical_host
from meta.text import one_line

SECONDS = 3.0
"""Seconds that the answer may take."""
HELD_LIMIT = 300
OK = 200
_UNKNOWN = frozenset({400, 404, 405, 501})
"""The statuses by which a server says that it does not know the question."""
_HEAD_BYTES = 16_384
_CHUNK = 65_536
_ROUTES_LIMIT = 64
_NAME_LIMIT = 32


class Silent(Exception):
    """Nothing answers at the socket."""


class Older(Exception):
    """What answers does not know the question: it is no `hive-egress`, and takes requests as the model's API."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A host that was refused, `count` times."""

    host: str
    port: int
    count: int

    @property
    def text(self) -> str:
        """Return the host and port as a rule would have them, and how often."""
        return f"{authority(self.host, self.port)}, {'once' if self.count == 1 else f'{self.count} times'}"


@dataclass(frozen=True, slots=True)
class Answer:
    """`routes` has the kind of each key by its name, `upstreams` where it is for. `next` is the number to ask with.

    `more` is how many hosts were refused besides `refused`.
    """

    routes: dict[str, str] = field(default_factory=dict)
    upstreams: dict[str, str] = field(default_factory=dict)
    held: str = ""
    refused: tuple[Refused, ...] = ()
    next: int = 0
    more: int = 0


async def ask(socket: Path, after: int) -> Answer:
    """Return the answer. Raise Silent or Older."""
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_CHUNK)
            try:
                status, body = await _exchange(reader, writer, f"{WAY_OUT}?after={after}")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        raise Silent(str(error)) from error
    except h11.ProtocolError as error:
        raise Older(str(error)) from error
    if status in _UNKNOWN:
        raise Older(f"status {status}")
    if status != OK:
        raise Silent(f"status {status}")
    return parse_answer(body)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
    request = h11.Request(method="GET", target=target, headers=[("host", "hive"), ("connection", "close")])
    writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    status, body, came = 0, b"", False
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            data = await reader.read(_CHUNK)
            if not data and not came:
                raise ConnectionResetError("closed without an answer")
            came = True
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > ANSWER_LIMIT:
                raise h11.RemoteProtocolError("the answer is too long")
        elif isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("no answer")
    return status, body


def parse_answer(body: bytes) -> Answer:
    """Return the answer of a body. Raise Older if it is none. Single entries that are wrong are left out."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Older("no JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("routes"), dict):
        raise Older("no answer about the way out")
    held = value.get("held")
    rows = value.get("refused")
    refused = (_refused(row) for row in (rows if isinstance(rows, list) else []))
    return Answer(
        _texts(value["routes"], KINDS),
        _texts(value.get("upstreams")),
        one_line(held, HELD_LIMIT) if isinstance(held, str) else "",
        tuple(row for row in refused if row is not None),
        _number(value.get("next")),
        _number(value.get("more")),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0


def _texts(value: object, allowed: Any = None) -> dict[str, str]:
    """Return the names with their texts, but for those that cannot be a part of a path."""
    if not isinstance(value, dict):
        return {}
    names = [name for name in value if len(name) <= _NAME_LIMIT and name.isascii() and _is_plain(name)]
    texts = {name: value[name] for name in names[:_ROUTES_LIMIT]}
    return {name: text for name, text in texts.items() if isinstance(text, str) and (not allowed or text in allowed)}


def _is_plain(name: str) -> bool:
    return bool(name) and name.replace("-", "").isalnum()


def _refused(row: object) -> Refused | None:
    if not isinstance(row, dict):
        return None
    host, port, count = row.get("host"), row.get("port"), row.get("count")
    if not isinstance(host, str) or not isinstance(port, int) or not isinstance(count, int):
        return None
    try:
        name = canonical_host(host[:300])
    except BadInput:
        return None
    return Refused(name, port, count) if 0 < port <= 65_535 and 0 < count < 2**53 and host == name else None
