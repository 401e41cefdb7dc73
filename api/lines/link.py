"""The server side of `harness.sock`: lines up go to the reconciler's Links, lines down come from it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from api.lines.server import Given, LineConnection, LineServer
from api.sockets.listener import Bound
from meta.errors import HiveError
from meta.git.message import one_line
from meta.names import AgentName
from meta.wire.link import UP, Closed, Drain, Hello, Probe, Resume, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.observe.links import Links

log = logging.getLogger(__name__)

CONNECTIONS = 2
"""Most connections to one harness.sock: the harness's own, and a new one while the old one ends."""

LINE_BYTES = 16 * 1024
"""The longest line: a hello has some hundred bytes."""
HELLO_SECONDS = 10.0
"""Seconds to say hello: a connection that says nothing must not keep the harness out."""

_SHOWN = 200
"""Characters of what an agent said that go to the log."""


class Peer:
    """One connected harness (reconciler.ports.LinkPeer)."""

    def __init__(self, connection: LineConnection) -> None:
        self._connection = connection

    async def send(self, line: Drain | Resume | Probe | Closed) -> None:
        """Send one line, and after `Closed` end the connection. One that is lost shows as a lost link."""
        try:
            await self._connection.send(line.model_dump_json().encode())
            if isinstance(line, Closed):
                await self._connection.close()
        except (OSError, TimeoutError) as error:
            log.debug("a harness took no line: %s", error)
            self._connection.abort()


def link_server(
    bound: Bound,
    agent: AgentName,
    links: Links,
    *,
    limit: int,
    admit: Callable[[int | None], bool],
) -> LineServer:
    """The server for one agent's `harness.sock`. The peer must begin with `hello`."""

    async def session(connection: LineConnection) -> None:
        peer = Peer(connection)
        links.connected(agent, peer)
        silent = asyncio.get_running_loop().call_later(HELLO_SECONDS, connection.abort)
        try:
            await _listen(connection, agent, peer, links, silent.cancel)
        finally:
            silent.cancel()
            links.lost(agent, peer)

    longest = min(limit, LINE_BYTES)
    return LineServer(bound, session, limit=longest, admit=admit, fault=fault_line, connections=CONNECTIONS)


async def _listen(
    connection: LineConnection, agent: AgentName, peer: Peer, links: Links, on_hello: Callable[[], None]
) -> None:
    greeted = complained = False
    async for line in connection.lines():
        message = _understood(line)
        if isinstance(message, str):
            if not complained:  # once: how much of the log is an agent's is not for the agent to say
                log.warning("%s: a line on harness.sock was not understood: %s", agent, message, extra=_limited(agent))
            complained = True
            await asyncio.sleep(0)
            continue
        if isinstance(message, Hello):
            greeted = True
            on_hello()
            links.hello(agent, peer, message)
        elif greeted:
            links.state(agent, peer, message)
        else:
            log.warning("%s: its harness did not begin with hello", agent, extra=_limited(agent))
            return
        await asyncio.sleep(0)  # a peer that never stops talking must not hold up the loop


def _limited(agent: AgentName) -> dict[str, str]:
    return {"limited": f"{agent} link"}


def _understood(line: Given) -> Hello | State | str:
    """The message, or what is wrong with the line, fit for the log."""
    if not isinstance(line, bytes):
        return line.fault().summary
    try:
        return UP.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return one_line(first["msg"][: 2 * _SHOWN], _SHOWN)


def fault_line(error: HiveError) -> bytes:
    """What a peer is told that is not let in; the link itself has no error line."""
    return json.dumps({"error": error.summary}).encode()
