"""The listening sockets of every agent, in the directory that is bound into its container.

mcp.sock      line protocol
harness.sock  the link to its harness
http.sock     its tools, at /mcp
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.http.agent import HttpServer
from api.lines.agent import agent_server
from api.lines.link import link_server
from api.lines.server import LineServer
from api.mcp.app import ENVELOPE, Door
from api.operations.base import Call
from api.sockets.listener import Bound, bind, make_directory
from api.sockets.principals import UID_RANGE, principal_of
from meta.config import Config
from meta.errors import TransientError
from meta.failpoint import operation
from meta.layout import Layout
from meta.names import AgentName

if TYPE_CHECKING:
    from reconciler.service import Service


@dataclass(frozen=True, slots=True)
class _Set:
    """What listens for one agent."""

    mcp: LineServer
    harness: LineServer
    http: HttpServer
    door: Door

    @property
    def present(self) -> bool:
        return all(server.bound.present() for server in (self.mcp, self.harness, self.http))

    async def start(self) -> None:
        await asyncio.gather(self.mcp.start(), self.harness.start(), self.http.start())

    async def mute(self) -> None:
        self.door.release()
        await asyncio.gather(self.mcp.stop(), self.http.stop())
        await self.door.close()

    async def close(self) -> None:
        self.door.release()
        await asyncio.gather(self.mcp.close(), self.harness.close(), self.http.close())
        await self.door.close()


class AgentSockets:
    """Implements reconciler.ports.Sockets.

    `service` answers on the sockets. It is a future since the service, too, is made of parts that open sockets: until
    it is there, `open` raises TransientError.
    """

    def __init__(self, layout: Layout, config: Config, service: asyncio.Future[Service]) -> None:
        self._layout = layout
        self._config = config
        self._service = service
        self._sets: dict[AgentName, _Set] = {}
        self._locks: dict[AgentName, asyncio.Lock] = {}
        self._opened = asyncio.Condition()

    def present(self, agent: AgentName) -> bool:
        """True when all sockets listen and their files are still the ones made for them."""
        found = self._sets.get(agent)
        return found is not None and found.present

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        """Make the sockets and listen; mode 0660, owned by `uid` when given. Open and present already: nothing.

        Only uids of the range that begins at `peers` may speak there; None: whoever may open the file.
        """
        async with self._locks.setdefault(agent, asyncio.Lock()):
            if self.present(agent):
                return
            await self._close(agent)
            if not self._service.done():
                raise TransientError(f"the sockets of {agent} cannot open yet", "the daemon is still starting")
            service = self._service.result()
            make_directory(self._layout.sockets(agent), uid)
            mcp, harness, http = self._bind(agent, uid)
            admit, limit = admission(peers), self._config.max_line_bytes
            door = Door(Call(service, principal_of(agent)), limit=limit + ENVELOPE, admit=admit)
            self._sets[agent] = made = _Set(
                agent_server(mcp, agent, service, limit=limit, admit=admit),
                link_server(harness, agent, service.links, limit=limit, admit=admit),
                HttpServer(http, door),
                door,
            )
            await made.start()
        async with self._opened:
            self._opened.notify_all()

    async def opened(self, agent: AgentName) -> None:
        """Wait until the sockets of `agent` are open."""
        async with self._opened:
            await self._opened.wait_for(lambda: self.present(agent))

    def _bind(self, agent: AgentName, uid: int | None) -> list[Bound]:
        """All three or none."""
        layout, made = self._layout, []
        try:
            for path in (layout.mcp_socket(agent), layout.harness_socket(agent), layout.agent_http_socket(agent)):
                made.append(bind(path, uid))
                operation(path.stem)
        except BaseException:
            for bound in made:
                bound.remove()
            raise
        return made

    async def close(self, agent: AgentName) -> None:
        """Stop listening, drop the connections, remove the files (never the directory)."""
        async with self._locks.setdefault(agent, asyncio.Lock()):
            await self._close(agent)

    async def mute(self) -> None:
        """End every request of an agent before the store closes; links and files stay, so that nothing is repaired."""
        await asyncio.gather(*(one.mute() for one in self._sets.values()))

    async def close_all(self) -> None:
        """For the end of the daemon: agents go on and connect again to the next one."""
        await asyncio.gather(*(self.close(agent) for agent in tuple(self._sets)))

    async def _close(self, agent: AgentName) -> None:
        found = self._sets.pop(agent, None)
        if found is not None:
            await found.close()


def admission(uid: int | None) -> Callable[[int | None], bool]:
    """Who may use an agent's sockets: the agent's own uid range, root, and the daemon's own user.

    Without fixed uids (`uid` is None) agents run as the daemon's user, and the mode of the file decides.
    """
    own = os.geteuid()

    def admit(peer: int | None) -> bool:
        if uid is None or peer in (0, own):
            return True
        return peer is not None and uid <= peer < uid + UID_RANGE

    return admit
