"""The helper's socket, with its rules: the uid that may connect, and the limits of size and time.

Each connection has a thread. The peer's uid is read from the socket (SO_PEERCRED) before any byte. Anything but an
exact request is answered with an error and logged. The connection stays open unless the end of a line was lost.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meta.errors import BadInput, HiveError, Refused, TransientError
from reconciler.privileged import protocol
from reconciler.privileged.journal import Journal
from reconciler.privileged.protocol import LINE_LIMIT, VERBS, Request
from reconciler.privileged.values import Bounds

_CREDENTIALS = struct.Struct("3i")
_ACCEPT_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end when it connected."""

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Only `uid` may connect. `idle`: seconds until a whole request must have arrived. `write`: seconds for the peer to
    read an answer.
    """

    uid: int
    bounds: Bounds = field(default_factory=Bounds)
    connections: int = 8
    idle: float = 30.0
    write: float = 10.0
    settle: float = 30.0


def peer(connection: socket.socket) -> Peer:
    """Return the process at the other end."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid)


class Server:
    """Serves a listening socket until `stop`. `perform` does a request."""

    def __init__(
        self,
        listener: socket.socket,
        perform: Callable[[Request], Mapping[str, object]],
        rules: Rules,
        journal: Journal,
    ) -> None:
        self._listener = listener
        self._perform = perform
        self._rules = rules
        self._journal = journal
        self._slots = threading.BoundedSemaphore(rules.connections)
        self._threads: set[threading.Thread] = set()
        self._waker, self._woken = socket.socketpair()

    def stop(self) -> None:
        """Make `serve` return once the running requests are done. Callable from a signal handler or a thread."""
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def serve(self) -> None:
        """Accept connections until stopped. Requests that run at that moment have `settle` seconds to end."""
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not any(key.fileobj is self._woken for key, _ in selector.select()):
                self._accept()
        self._listener.close()
        ends = time.monotonic() + self._rules.settle
        for thread in list(self._threads):
            thread.join(max(0.0, ends - time.monotonic()))
        self._waker.close()
        self._woken.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of descriptors: those in use are closed later
            self._journal.write("cannot-accept", error=str(error))
            threading.Event().wait(_ACCEPT_PAUSE)
            return
        who = peer(connection)
        if who.uid != self._rules.uid:
            self._reject(connection, who, Refused(f"uid {who.uid} may not ask for anything here"))
        elif not self._slots.acquire(blocking=False):
            self._reject(connection, who, TransientError("too many connections", retry_after=1.0))
        else:
            thread = threading.Thread(target=self._serve_connection, args=(connection, who), daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:
                self._threads.discard(thread)
                self._slots.release()
                self._reject(connection, who, TransientError(f"no thread: {error}", retry_after=1.0))

    def _reject(self, connection: socket.socket, who: Peer, error: HiveError) -> None:
        self._journal.write("refused", peer_uid=who.uid, peer_pid=who.pid, error=error.summary)
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            connection.send(protocol.encode_error(error))

    def _serve_connection(self, connection: socket.socket, who: Peer) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                lines = _Lines(connection, self._rules.idle)
                while (line := self._next(connection, lines, who)) is not None:
                    answer = self._answer(line, who)
                    connection.settimeout(self._rules.write)
                    connection.sendall(answer)
        finally:
            self._slots.release()
            self._threads.discard(threading.current_thread())

    def _next(self, connection: socket.socket, lines: _Lines, who: Peer) -> bytes | None:
        try:
            return lines.next()
        except BadInput as error:
            self._journal.write("refused", peer_uid=who.uid, peer_pid=who.pid, error=error.summary)
            connection.settimeout(self._rules.write)
            connection.sendall(protocol.encode_error(error))
            return None

    def _answer(self, line: bytes, who: Peer) -> bytes:
        begun, facts = time.monotonic(), {"peer_uid": who.uid, "peer_pid": who.pid}
        try:
            request = protocol.decode(line, self._rules.bounds)
        except BadInput as error:
            self._journal.write("refused", error=error.summary, line=repr(line[:200]), **facts)
            return protocol.encode_error(error)
        verb = VERBS[type(request)]
        try:
            data = self._perform(request)
        except HiveError as error:
            event = "refused" if isinstance(error, Refused) else "failed"
            self._journal.write(event, verb=verb, name=request.name, error=error.summary, **facts)
            return protocol.encode_error(error)
        except OSError as error:
            self._journal.write("failed", verb=verb, name=request.name, error=str(error), **facts)
            return protocol.encode_error(TransientError(f"{verb} of {request.name}: {error.strerror}"))
        self._journal.write("done", verb=verb, name=request.name, seconds=round(time.monotonic() - begun, 3), **facts)
        return protocol.encode_done(data)


class _Lines:
    """Lines of a connection: each complete within `idle` seconds and LINE_LIMIT bytes."""

    def __init__(self, connection: socket.socket, idle: float) -> None:
        self._connection = connection
        self._idle = idle
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """Return the next line with its end; None if the peer is done or too slow. Raise BadInput for a long line."""
        ends, searched = time.monotonic() + self._idle, 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched >= LINE_LIMIT:
                break
            self._connection.settimeout(max(0.001, ends - time.monotonic()))
            chunk = self._connection.recv(65536) if ends > time.monotonic() else b""
            if not chunk:
                return None
            self._buffer += chunk
        if end < 0 or end >= LINE_LIMIT:
            raise BadInput(f"the line has more than {LINE_LIMIT} bytes")
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line
