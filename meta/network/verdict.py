"""What `hive-egress` answers to a connection, and the words for it. Standard library only."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of a request for a connection. The values are on the wire, in metrics and in `--json`.

    Only what an operator could allow counts as a refused host (`may_be_asked`): it becomes an event, a line in
    `hive status` and one in the agent's next turn.
    """

    ALLOWED = "allowed"
    NOT_LISTED = "not-listed"
    """No rule of the agent covers the host and port."""
    CEILING = "ceiling"
    """A rule does, but the operator's ceiling does not."""
    PRIVATE = "private-address"
    """The name resolves to a loopback, link-local or private address, or one of the host's own."""
    SNI = "sni"
    """TLS names another host, one that is not allowed, or none."""
    HOST_HEADER = "host-header"
    """A request names another host than the connection is for."""
    NOT_TLS = "not-tls"
    """Port 443 and no TLS."""
    BAD_REQUEST = "bad-request"
    """No clean HTTP, or a host or port in no clean spelling."""
    UNRESOLVED = "unresolved"
    """The name has no address, or the resolver does not answer."""
    UNREACHABLE = "unreachable"
    """Nobody answers at the address."""
    LIMIT = "limit"
    """Too many connections, or one that waited too long."""
    NO_ROUTE = "no-route"
    """A path of the key face that does not exist, or that this agent may not use."""
    NO_KEY = "no-key"
    """The key's file is missing, readable by others, or empty."""
    HELD = "held"
    """The daemon closed the key face: the agent's budget is used up."""

    @property
    def may_be_asked(self) -> bool:
        """Return True if the operator may allow it with a rule."""
        return self is Verdict.NOT_LISTED

    @property
    def refused(self) -> bool:
        """Return True if hive refused; False if it allowed, or the other side failed."""
        return self not in (Verdict.ALLOWED, Verdict.UNRESOLVED, Verdict.UNREACHABLE)
