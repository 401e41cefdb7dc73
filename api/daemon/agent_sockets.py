"""The listening sockets of every agent, in the directory that is bound into its container.

mcp.sock      the line protocol
harness.sock  the link to the agent's harness
http.sock     the agent's tools, at /mcp
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.http.agent import HttpServer
from api.lines.agent import agent_server
from api.lines.link import Taking, link_server
from api.lines.server import LineServer
from api.mcp.app import ENVELOPE, Endpoint
from api.operations.base import Call
from api.sockets.budget import Budget
from api.sockets.listener import Bound, bind, make_directory
from api.sockets.principals import UID_RANGE, principal_of
from meta.config import Config
from meta.errors import TransientError
from meta.layout import Layout
from meta.names import AgentName
from meta.process.failpoint import operation

if TYPE_CHECKING:
    from reconciler.service import Service


AGENT_BYTES, ALL_BYTES = 24 * 2**20, 128 * 2**20
"""Bytes of requests and answers that the daemon keeps for one agent, and for all; more if the longest line needs it."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who owns the files, and whose uids may connect; see `AgentSockets.open`."""

    uid: int | None
    peers: int | None


@dataclass(frozen=True, slots=True)
class _Servers:
    """The servers of one agent."""

    mcp: LineServer
    harness: LineServer
    http: HttpServer
    endpoint: Endpoint
    owner: _Owner

    @property
    def present(self) -> bool:
        return all(server.bound.present() for server in (self.mcp, self.harness, self.http))

    def restore(self) -> None:
        """Make each socket again whose file is gone. Connections go on, those of the others and those of these."""
        servers: tuple[LineServer | HttpServer, ...] = (self.mcp, self.harness, self.http)
        for server in servers:
            if not server.bound.present():
                server.rebind(bind(server.bound.path, self.owner.uid))
                operation(server.bound.path.stem)

    async def start(self) -> None:
        await asyncio.gather(self.mcp.start(), self.harness.start(), self.http.start())

    async def mute(self) -> None:
        self.endpoint.stop()
        await asyncio.gather(self.mcp.stop(), self.http.stop())
        await self.endpoint.close()

    async def close(self) -> None:
        self.endpoint.stop()
        await asyncio.gather(self.mcp.close(), self.harness.close(), self.http.close())
        await self.endpoint.close()


class AgentSockets:
    """The sockets of all agents (reconciler.ports.Sockets).

    `service` answers on the sockets. It is a future because some of its parts open sockets themselves. Until the
    service exists, `open` raises TransientError.
    """

    def __init__(self, layout: Layout, config: Config, service: asyncio.Future[Service]) -> None:
        self._layout = layout
        self._config = config
        self._service = service
        self._servers: dict[AgentName, _Servers] = {}
        self._locks: dict[AgentName, asyncio.Lock] = {}
        self._opened = asyncio.Condition()
        self._budget = Budget(max(ALL_BYTES, 4 * config.max_line_bytes))

    def present(self, agent: AgentName) -> bool:
        """Return True if all sockets listen and their files are still those that hive made."""
        servers = self._servers.get(agent)
        return servers is not None and servers.present

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        """Create the sockets and listen. Do nothing if they are present.

        Their files have mode 0660 and belong to `uid` if given. Only uids in the range that begins at `peers` may
        connect. If `peers` is None, every user who may open the file can connect.
        """
        async with self._locks.setdefault(agent, asyncio.Lock()):
            servers, owner = self._servers.get(agent), _Owner(uid, peers)
            if servers is not None and servers.present:
                return
            if servers is not None and servers.owner == owner:
                make_directory(self._layout.sockets(agent), uid)
                servers.restore()
            else:
                await self._open(agent, owner)
        async with self._opened:
            self._opened.notify_all()

    async def _open(self, agent: AgentName, owner: _Owner) -> None:
        """Bind all three sockets and listen, in place of those that the agent had."""
        await self._close(agent)
        if not self._service.done():
            raise TransientError(f"the sockets of {agent} cannot open yet", "the daemon is still starting")
        service = self._service.result()
        make_directory(self._layout.sockets(agent), owner.uid)
        mcp, harness, http = self._bind(agent, owner.uid)
        admit, limit = admission(owner.peers), self._config.max_line_bytes
        share = self._budget.share(max(AGENT_BYTES, 2 * limit))
        endpoint = Endpoint(Call(service, principal_of(agent)), limit=limit + ENVELOPE, admit=admit, share=share)
        taking = Taking(service.links, service.releases, service.shutdowns, service.pod_reports)
        self._servers[agent] = servers = _Servers(
            agent_server(mcp, agent, service, limit=limit, admit=admit, share=share),
            link_server(harness, agent, taking, admit=admit),
            HttpServer(http, endpoint),
            endpoint,
            owner,
        )
        await servers.start()

    async def opened(self, agent: AgentName) -> None:
        """Wait until the sockets of `agent` are open."""
        async with self._opened:
            await self._opened.wait_for(lambda: self.present(agent))

    def _bind(self, agent: AgentName, uid: int | None) -> list[Bound]:
        """Bind all three sockets, or none."""
        layout, sockets = self._layout, []
        try:
            for path in (layout.mcp_socket(agent), layout.harness_socket(agent), layout.agent_http_socket(agent)):
                sockets.append(bind(path, uid))
                operation(path.stem)
        except BaseException:
            for socket in sockets:
                socket.remove()
            raise
        return sockets

    async def close(self, agent: AgentName) -> None:
        """Stop listening, drop the connections, and remove the files, but not the directory."""
        async with self._locks.setdefault(agent, asyncio.Lock()):
            await self._close(agent)

    async def mute(self) -> None:
        """Close all agents' connections before the store closes.

        The link sockets and the files stay. Otherwise the loop would repair them.
        """
        await asyncio.gather(*(servers.mute() for servers in self._servers.values()))

    async def close_all(self) -> None:
        """Close all sockets at the end of the daemon. Agents keep running, and connect to the next daemon."""
        await asyncio.gather(*(self.close(agent) for agent in tuple(self._servers)))

    async def _close(self, agent: AgentName) -> None:
        servers = self._servers.pop(agent, None)
        if servers is not None:
            await servers.close()


def admission(uid: int | None) -> Callable[[int | None], bool]:
    """Return the check of who may use an agent's sockets: the agent's uid range, root, and the daemon's user.

    If uids are not fixed (`uid` is None), agents run as the daemon's user. The file's mode then decides.
    """
    own = os.geteuid()

    def admit(peer: int | None) -> bool:
        if uid is None or peer in (0, own):
            return True
        return peer is not None and uid <= peer < uid + UID_RANGE

    return admit
