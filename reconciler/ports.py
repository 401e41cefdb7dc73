"""The ports that the layer above implements: the sockets of an agent, and the peer of a link."""

from __future__ import annotations

from typing import Protocol

from meta.names import AgentName
from meta.wire.link import DownLine


class Sockets(Protocol):
    """The listening sockets of agents (implemented by api/daemon/agent_sockets.py)."""

    def present(self, agent: AgentName) -> bool:
        """Return True if all sockets of the agent listen, and their files are the ones that were made for them."""

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        """Make the sockets of an agent and listen, unless they are open. Replace stale files.

        The files have mode 0660 and belong to `uid`, if given. Only uids of the range that begins at `peers` are
        served. If `peers` is None, every uid that may open the file is served.
        """

    async def close(self, agent: AgentName) -> None:
        """Stop listening, drop the connections, remove the files (never the directory)."""


class LinkPeer(Protocol):
    """One connected harness, as the reconciler uses it."""

    async def send(self, line: DownLine) -> None:
        """Send one line, and after `Closed` end the connection. A broken connection raises nothing: it is lost then."""
