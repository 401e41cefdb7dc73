"""A unix socket in front of a TCP port on loopback: where a container's way out ends, for fakes that listen on TCP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def in_front(path: Path, url: str) -> Iterator[None]:
    """Carry what comes to `path` to the port of `url`, inside the block. Every uid that reaches it may connect.

    At its end the open connections are cut off, because programs keep them for their next requests.
    """
    port = int(url.rsplit(":", 1)[1])
    connections: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(64)
        accepting = threading.Thread(target=_accept, args=(listener, port, connections), daemon=True)
        accepting.start()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(5)
            for connection in connections:
                with contextlib.suppress(OSError):  # most are closed
                    connection.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, connections: list[socket.socket]) -> None:
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:
            return
        connections.append(inner)
        threading.Thread(target=_serve, args=(inner, port), daemon=True).start()


def _serve(inner: socket.socket, port: int) -> None:
    with inner, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as outer:
        outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_carry, args=(outer, inner), daemon=True)
        back.start()
        _carry(inner, outer)
        back.join()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
