"""`hive-harness connect PROXY HOST PORT`: the ProxyCommand of ssh. It tunnels stdin and stdout by CONNECT.

A refusal is one line on stderr, which ssh and git show. Standard library only: git starts it for each connection.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Sequence

HEAD_BYTES = 16_384
CONNECT_SECONDS = 60.0
"""Seconds until the proxy has answered: it resolves the name and connects."""
_CHUNK = 65_536
_SHOWN = 200


class Refused(Exception):
    """The proxy made no tunnel. The text says why."""


def main(words: Sequence[str]) -> int:
    """Tunnel until both sides have ended; return the exit code."""
    proxy, host, port = words
    try:
        tunnel, early = open_tunnel(proxy, host, port)
    except (OSError, Refused) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        sys.stderr.write(f"hive: no way to {host[:_SHOWN]}:{port[:_SHOWN]}: {why}\n")
        return 1
    with tunnel:
        _write(1, early)
        _carry(tunnel)
    return 0


def open_tunnel(proxy: str, host: str, port: str) -> tuple[socket.socket, bytes]:
    """Return a connection to a host through the proxy, and what has come of it. Raise Refused or OSError."""
    name = f"[{host}]" if ":" in host else host
    target = f"{name}:{port}"
    if not target.isascii() or not target.isprintable() or " " in target:
        raise Refused("it is no host and port")
    address, _, number = proxy.rpartition(":")
    connection = socket.create_connection((address, int(number)), CONNECT_SECONDS)
    try:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("ascii"))
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(_CHUNK)
            head += data
            if not data or len(head) > HEAD_BYTES + _CHUNK:
                raise Refused("the way out does not answer as a proxy")
        head, _, early = head.partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 2)
        if len(status) < 2 or status[1] != "200":
            raise Refused("".join(letter if letter.isprintable() else "?" for letter in " ".join(status[1:])[:_SHOWN]))
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection, early


def _carry(tunnel: socket.socket) -> None:
    """Carry bytes until the other side has ended. The end of stdin is passed on."""
    sources: list[socket.socket | int] = [tunnel, 0]
    while tunnel in sources:
        for source in select.select(sources, [], [])[0]:
            if isinstance(source, int):
                if data := os.read(0, _CHUNK):
                    tunnel.sendall(data)
                    continue
                sources.remove(source)
                tunnel.shutdown(socket.SHUT_WR)
            elif data := tunnel.recv(_CHUNK):
                _write(1, data)
            else:
                sources.remove(tunnel)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
