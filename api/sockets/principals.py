"""The principal that calls. The socket on which a call arrives decides it; nothing in the request can.

Operator   host.sock and http.sock; the peer's uid is recorded ("operator uid 1000"). The dashboard: the uid whose link
           it was, or the user whom a reverse proxy named ("operator anna")
Manager    the manager's mcp.sock
Agent      one agent's mcp.sock
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from meta.names import MANAGER, AgentName, operator_who

_CREDENTIALS = struct.Struct("3i")
UID_RANGE = 65_536
"""The number of uids that one container may use, from its base on."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A person, or a person's program, on the host. `uid` is the kernel's; None if it is unknown.

    `user` is the name of a person whom a trusted reverse proxy logged in to the dashboard; such a person has no uid.
    """

    uid: int | None = None
    user: str = ""

    @property
    def who(self) -> str:
        """The name that is recorded in tags and logs."""
        return operator_who(self.uid, self.user)


@dataclass(frozen=True, slots=True)
class Manager:
    """The privileged agent."""

    name: AgentName = MANAGER

    @property
    def who(self) -> str:
        """The name that is recorded in tags and logs."""
        return self.name


@dataclass(frozen=True, slots=True)
class Agent:
    """Any other agent."""

    name: AgentName

    @property
    def who(self) -> str:
        """The name that is recorded in tags and logs."""
        return f"agent {self.name}"


Principal = Operator | Manager | Agent


def principal_of(agent: AgentName) -> Manager | Agent:
    """Return the principal of an agent's own socket."""
    return Manager() if agent == MANAGER else Agent(agent)


def peer_uid(sock: socket.socket) -> int | None:
    """Return the uid that the peer of a unix socket had when it connected; None if it is unknown."""
    try:
        _pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:
        return None
    return int(uid)
