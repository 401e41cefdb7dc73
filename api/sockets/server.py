"""A server on a bound socket that survives a lack of descriptors. Apart from the listener, which commands import.

asyncio's own server, in Pythons before 3.12.9 and 3.13.2, tries a hundred times in a row when the process has no
descriptor left, logs each of these and sets a timer for each. This one stops to accept for PAUSE seconds and reports
that once: the kernel keeps the connections meanwhile, up to the backlog.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

PAUSE = 1.0
"""Seconds without accepting after the kernel refused a new connection."""
AT_ONCE = 32
"""Connections that are accepted before other tasks get their turn."""


MakeProtocol = Callable[[], asyncio.Protocol]
Connect = Callable[[socket.socket, MakeProtocol], Awaitable[object]]
"""Gives an accepted connection its protocol. It may raise OSError; the connection is closed then."""


async def connect(peer: socket.socket, protocol: MakeProtocol) -> None:
    """Give `peer` its protocol at once."""
    await asyncio.get_running_loop().connect_accepted_socket(protocol, peer)


class Server:
    """Accepts connections, each with a protocol of its own. It removes no file. `connect` may do a handshake before.

    What the kernel refuses goes to the loop's exception handler (`api.daemon.descriptors`).
    """

    def __init__(self, protocol: MakeProtocol, *, connect: Connect = connect) -> None:
        self._protocol = protocol
        self._connect_peer = connect
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._paused: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, sock: socket.socket) -> None:
        """Accept connections on `sock`, which listens, and no more on the one before. Open connections go on."""
        self.close()
        self._sock = sock
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more. Open connections go on."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    async def wait_closed(self) -> None:
        """Wait until each accepted connection has its protocol."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if self._sock is None:
                return
            try:
                peer, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(self._sock, error)
                return
            peer.setblocking(False)
            task = self._loop.create_task(self._connect(peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pause(self, sock: socket.socket, error: OSError) -> None:
        self._loop.remove_reader(sock)
        self._paused = self._loop.call_later(PAUSE, self._listen_again)
        context = {"message": f"no new connection is accepted for {PAUSE:g} s", "exception": error}
        self._loop.call_exception_handler(context)

    def _listen_again(self) -> None:
        self._paused = None
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._accept)

    async def _connect(self, peer: socket.socket) -> None:
        try:
            await self._connect_peer(peer, self._protocol)
        except OSError:  # it has disconnected already, or its handshake failed
            peer.close()
