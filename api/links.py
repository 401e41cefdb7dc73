"""The server side of `harness.sock`: lines up go to the reconciler's Links, lines down come from it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from api.lines import LineConnection, LineServer, TooLong
from api.listener import Bound
from meta.errors import HiveError
from meta.names import AgentName
from meta.wire.link import UP, Drain, Hello, Probe, Resume

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.links import Links

log = logging.getLogger(__name__)


class Peer:
    """One connected harness (reconciler.ports.LinkPeer)."""

    def __init__(self, connection: LineConnection) -> None:
        self._connection = connection

    async def send(self, line: Drain | Resume | Probe) -> None:
        """Send one line. One that is lost shows as a lost link."""
        try:
            await self._connection.send(line.model_dump_json().encode())
        except (OSError, TimeoutError) as error:
            log.debug("a harness took no line: %s", error)
            self._connection.abort()


def link_server(
    bound: Bound, agent: AgentName, links: Links, *, limit: int, admit: Callable[[int | None], bool]
) -> LineServer:
    """The server for one agent's `harness.sock`. The peer must begin with `hello`."""

    async def session(connection: LineConnection) -> None:
        peer = Peer(connection)
        links.connected(agent, peer)
        try:
            await _listen(connection, agent, peer, links)
        finally:
            links.lost(agent, peer)

    return LineServer(bound, session, limit=limit, admit=admit, fault=fault_line)


async def _listen(connection: LineConnection, agent: AgentName, peer: Peer, links: Links) -> None:
    greeted = False
    async for line in connection.lines():
        if isinstance(line, TooLong):
            log.warning("%s: %s on harness.sock", agent, line.fault().summary)
            continue
        try:
            message = UP.validate_json(line)
        except ValidationError as error:
            log.warning("%s: a line on harness.sock was not understood: %s", agent, error.errors()[0]["msg"])
            continue
        if isinstance(message, Hello):
            greeted = True
            links.hello(agent, peer, message)
        elif greeted:
            links.state(agent, peer, message)
        else:
            log.warning("%s: its harness did not begin with hello", agent)
            return
        await asyncio.sleep(0)  # a peer that never stops talking must not hold up the loop


def fault_line(error: HiveError) -> bytes:
    """What a peer is told that is not let in; the link itself has no error line."""
    return json.dumps({"error": error.summary}).encode()
