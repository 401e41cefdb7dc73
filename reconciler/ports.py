"""What the reconciler needs from the layer above it: the sockets of an agent, and the peer at the end of a link."""

from __future__ import annotations

from typing import Protocol

from meta.names import AgentName
from meta.wire.link import Drain, Probe, Resume


class Sockets(Protocol):
    """The listening sockets of one agent (implemented by api/daemon/agent_sockets.py)."""

    def present(self, agent: AgentName) -> bool:
        """True when both of the agent's sockets are listening and their files are still the ones made for them."""

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        """Make and listen, replacing stale files; mode 0660, owned by `uid` when given. Open already: nothing.

        Only uids of the range that begins at `peers` may speak there; None: whoever may open the file.
        """

    async def close(self, agent: AgentName) -> None:
        """Stop listening, drop the connections, remove the files (never the directory)."""


class LinkPeer(Protocol):
    """One connected harness, as the reconciler talks to it."""

    async def send(self, line: Drain | Resume | Probe) -> None:
        """Send one line; a broken connection is not an error here, it shows as a lost link."""
