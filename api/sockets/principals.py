"""Who is calling. The socket that a call came in on decides; nothing that the caller writes does.

Operator   host.sock and http.sock; the peer's uid is recorded ("operator uid 1000")
Manager    the manager's mcp.sock
Agent      one agent's mcp.sock
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from meta.names import MANAGER, AgentName

_CREDENTIALS = struct.Struct("3i")
UID_RANGE = 65_536
"""uids that one container may use, from its base on."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A person (or a program of theirs) on the host. `uid` as the kernel tells it; None when it cannot."""

    uid: int | None = None

    @property
    def who(self) -> str:
        """As it is recorded in tags and logs."""
        return "operator" if self.uid is None else f"operator uid {self.uid}"


@dataclass(frozen=True, slots=True)
class Manager:
    """The privileged agent."""

    name: AgentName = MANAGER

    @property
    def who(self) -> str:
        """As it is recorded in tags and logs."""
        return self.name


@dataclass(frozen=True, slots=True)
class Agent:
    """Any other agent."""

    name: AgentName

    @property
    def who(self) -> str:
        """As it is recorded in tags and logs."""
        return f"agent {self.name}"


Principal = Operator | Manager | Agent


def principal_of(agent: AgentName) -> Manager | Agent:
    """The principal behind an agent's own socket."""
    return Manager() if agent == MANAGER else Agent(agent)


def peer_uid(sock: socket.socket) -> int | None:
    """The uid of the process at the other end of a unix socket, as it was when it connected; None if unknown."""
    try:
        _pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:
        return None
    return int(uid)
