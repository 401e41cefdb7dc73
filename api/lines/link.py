"""The server side of `harness.sock`. It passes lines between the harness and the reconciler's Links."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from api.lines.connection import Given, LineConnection
from api.lines.rate import Rate
from api.lines.server import LineServer
from api.sockets.listener import Bound
from meta.errors import HiveError
from meta.names import AgentName
from meta.text import one_line
from meta.wire.link import (
    UP,
    About,
    Closed,
    Done,
    DownLine,
    Event,
    Hello,
    PodReport,
    Pods,
    Release,
    ShutdownRequest,
    State,
    UpLine,
)
from reconciler.observe.live import LiveLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.observe.links import Links
    from reconciler.observe.releases import Releases
    from reconciler.pods.reports import PodReports
    from reconciler.pods.shutdowns import Shutdowns

log = logging.getLogger(__name__)

CONNECTIONS = 4
"""Most connections to one harness.sock: the harness, a new one of it, and two that are just being closed."""

LINE_BYTES = 128 * 1024
"""The longest line: an event, of which the harness cuts what is over 64 KiB."""
HELLO_SECONDS = 10.0
"""Seconds to say hello: a connection that says nothing must not keep the harness out."""

DEPTH = 100
"""How deep an event is nested at most: a harness cuts what is deeper, and those who read it have a parser's limit."""

_EVENT = re.compile(rb'\{"up":"event","id":([0-9]{1,15}),"ts":([0-9]{1,10}),"event":(?=\{)')

_SHOWN = 200
"""Characters of an agent's line that are logged."""


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True, slots=True)
class Taking:
    """What takes the lines of harnesses."""

    links: Links
    releases: Releases
    shutdowns: Shutdowns
    reports: PodReports


class Peer:
    """One connected harness (reconciler.ports.LinkPeer)."""

    def __init__(self, connection: LineConnection) -> None:
        self._connection = connection

    async def send(self, line: DownLine) -> None:
        """Send one line, and after `Closed` end the connection. If it fails, the link ends."""
        try:
            await self._connection.send(line.model_dump_json().encode())
            if isinstance(line, Closed):
                await self._connection.close()
        except (OSError, TimeoutError) as error:
            log.debug("cannot send to a harness: %s", error)
            self._connection.abort()


def link_server(
    bound: Bound,
    agent: AgentName,
    taking: Taking,
    *,
    admit: Callable[[int | None], bool],
) -> LineServer:
    """Return the server for one agent's `harness.sock`. The peer must begin with `hello`."""

    async def session(connection: LineConnection) -> None:
        peer = Peer(connection)
        taking.links.connected(agent, peer)
        silent = asyncio.get_running_loop().call_later(HELLO_SECONDS, connection.abort)
        try:
            await _receive(connection, agent, peer, taking, silent.cancel)
        finally:
            silent.cancel()
            taking.links.lost(agent, peer)

    return LineServer(bound, session, limit=LINE_BYTES, admit=admit, fault=fault_line, connections=CONNECTIONS)


async def _receive(
    connection: LineConnection,
    agent: AgentName,
    peer: Peer,
    taking: Taking,
    on_hello: Callable[[], None],
) -> None:
    greeted = warned = False
    rate = Rate()
    async for line in connection.lines():
        await rate.wait(len(line) if isinstance(line, bytes) else LINE_BYTES)
        message = parse_event(line) or _parse(line)
        if isinstance(message, str):
            if not warned:  # only once, or an agent could fill the log
                log.warning("%s: a line on harness.sock was not understood: %s", agent, message, extra=_limited(agent))
            warned = True
            continue
        if isinstance(message, Hello):
            greeted = True
            on_hello()
            taking.links.hello(agent, peer, message)
        elif greeted:
            await _pass_on(agent, peer, taking, message)
        else:
            log.warning("%s: its harness did not begin with hello", agent, extra=_limited(agent))
            return


async def _pass_on(agent: AgentName, peer: Peer, taking: Taking, message: UpLine | LiveLine) -> None:
    links = taking.links
    match message:
        case State():
            links.state(agent, peer, message)
        case About():
            links.about(agent, peer, message)
        case Done():
            links.done(agent, peer, message)
        case Release():
            taking.releases.take(agent, peer, message)
        case Pods():
            links.pods(agent, peer, message)
        case PodReport():
            taking.reports.take(agent, peer, message)
        case ShutdownRequest():
            taking.shutdowns.take(agent, peer)
        case LiveLine():
            await links.event(agent, peer, message)
        case _:
            pass


def _limited(agent: AgentName) -> dict[str, str]:
    return {"limited": f"{agent} link"}


def parse_event(line: Given) -> LiveLine | None:
    """Return the event in a line that has the form in which hive's harness writes it; None: it needs `_parse`.

    Most lines are events. So their text is kept as it came: only the parser of the standard library sees it. What
    the parser of other lines refuses, or a reader of the stream would not understand, is left to `_parse`.
    """
    if not isinstance(line, bytes) or (match := _EVENT.match(line)) is None:
        return None
    if line[-2:] != b"}}" or b"\r" in line or b"\\ud" in line:
        return None
    try:
        text = line[match.end() : -1].decode()
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return _bounded(LiveLine(int(match[1]), int(match[2]), value, text))


def _bounded(line: LiveLine) -> LiveLine:
    """Return the event. A note takes the place of one that is nested too deeply."""
    if line.text.count("{") + line.text.count("[") <= DEPTH:  # nearly all
        return line
    parts: list[object] = [line.value]
    for _ in range(DEPTH):
        lists = [part for part in parts if isinstance(part, list)]
        objects = [part for part in parts if isinstance(part, dict)]
        parts = [inner for part in (*lists, *(each.values() for each in objects)) for inner in part]
        if not parts:
            return line
    if not any(isinstance(part, dict | list) for part in parts):
        return line
    note = {"kind": "note", "text": f"an event that is nested more than {DEPTH} deep, which hive does not keep"}
    return LiveLine(line.id, line.ts, note, json.dumps(note, separators=(",", ":")))


def _parse(line: Given) -> UpLine | LiveLine | str:
    """Return the message, or what is wrong with the line as a text for the log."""
    if not isinstance(line, bytes):
        return line.fault().summary
    try:
        message = UP.validate_json(line)
        if not isinstance(message, Event):
            return message
        text = json.dumps(message.event, separators=(",", ":"), allow_nan=False)
        return _bounded(LiveLine(message.id, int(message.ts), message.event, text))
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            return "an event that is no JSON"
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return one_line(first["msg"][: 2 * _SHOWN], _SHOWN)


def fault_line(error: HiveError) -> bytes:
    """Return the line for a peer that is refused. The link protocol itself has no error line."""
    return json.dumps({"error": error.summary}).encode()
