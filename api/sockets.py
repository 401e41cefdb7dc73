"""The listening sockets of every agent: `mcp.sock` and `harness.sock` in the directory bound into its container."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.agents import agent_server
from api.lines import LineServer
from api.links import link_server
from api.listener import bind, make_directory
from api.principals import UID_RANGE
from meta.config import Config
from meta.errors import TransientError
from meta.layout import Layout
from meta.names import AgentName

if TYPE_CHECKING:
    from reconciler.service import Service


@dataclass(frozen=True, slots=True)
class _Pair:
    mcp: LineServer
    harness: LineServer

    @property
    def present(self) -> bool:
        return self.mcp.bound.present() and self.harness.bound.present()

    async def close(self) -> None:
        await asyncio.gather(self.mcp.close(), self.harness.close())


class AgentSockets:
    """Implements reconciler.ports.Sockets. `attach` the service before the first `open`."""

    def __init__(self, layout: Layout, config: Config) -> None:
        self._layout = layout
        self._config = config
        self._service: Service | None = None
        self._pairs: dict[AgentName, _Pair] = {}
        self._locks: dict[AgentName, asyncio.Lock] = {}

    def attach(self, service: Service) -> None:
        """What answers on the sockets."""
        self._service = service

    def present(self, agent: AgentName) -> bool:
        """True when both sockets listen and their files are still the ones made for them."""
        pair = self._pairs.get(agent)
        return pair is not None and pair.present

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        """Make both sockets and listen; mode 0660, owned by `uid` when given. Open and present already: nothing.

        Only uids of the range that begins at `peers` may speak there; None: whoever may open the file.
        """
        async with self._locks.setdefault(agent, asyncio.Lock()):
            if self.present(agent):
                return
            await self._close(agent)
            service = self._service
            if service is None:
                raise TransientError(f"the sockets of {agent} cannot open yet", "the daemon is still starting")
            make_directory(self._layout.sockets(agent), uid)
            admit, limit = admission(peers), self._config.max_line_bytes
            mcp = bind(self._layout.mcp_socket(agent), uid)
            try:
                harness = bind(self._layout.harness_socket(agent), uid)
            except BaseException:
                mcp.remove()
                raise
            pair = _Pair(
                agent_server(mcp, agent, service, limit=limit, admit=admit),
                link_server(harness, agent, service.links, limit=limit, admit=admit),
            )
            self._pairs[agent] = pair
            await pair.mcp.start()
            await pair.harness.start()

    async def close(self, agent: AgentName) -> None:
        """Stop listening, drop the connections, remove the files (never the directory)."""
        async with self._locks.setdefault(agent, asyncio.Lock()):
            await self._close(agent)

    async def mute(self) -> None:
        """End every request of an agent before the store closes; links and files stay, so that nothing is repaired."""
        await asyncio.gather(*(pair.mcp.stop() for pair in self._pairs.values()))

    async def close_all(self) -> None:
        """For the end of the daemon: agents go on and connect again to the next one."""
        await asyncio.gather(*(self.close(agent) for agent in tuple(self._pairs)))

    async def _close(self, agent: AgentName) -> None:
        pair = self._pairs.pop(agent, None)
        if pair is not None:
            await pair.close()


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
