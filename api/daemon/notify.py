"""systemd's readiness protocol: one datagram per message to the socket named in NOTIFY_SOCKET."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from functools import cache

log = logging.getLogger(__name__)


def notify(message: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send e.g. "READY=1". Return False if NOTIFY_SOCKET is not set, or if sending fails."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        _socket().sendto(message.encode(), address)
    except OSError as error:
        log.warning("cannot send %r to systemd: %s", message, error)
        return False
    return True


@cache
def _socket() -> socket.socket:
    """Return the socket to send from. It stays open: without a sign of life systemd would end a daemon that has no
    descriptor left.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.settimeout(1.0)
    return sock
