"""A daemon that only streams: live events of alice, hive's own events, and answers to what `hive attach` asks.

Its streams have the form of GET /api/agents/{agent}/live and GET /api/events. What is posted is recorded.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from pathlib import Path
from typing import Any

LOG = "log1"


class FakeDaemon:
    """Listens at `path` from `start` to `stop`, and again after another `start`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[object] = []
        self.posts: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.answers: dict[str, tuple[int, object]] = {}
        self.resumed: list[str] = []
        self.streams: dict[str, list[socket.socket]] = {"live": [], "hive": []}
        self.of_child: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._changed = threading.Condition()
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """End as a daemon that is killed."""
        assert self._listener is not None
        self.path.unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for each in self._open:
                self._end(each)
            self._open.clear()
            self.streams = {"live": [], "hive": []}

    def _end(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def emit(self, event: object) -> None:
        """Append a live event, and send it to all who watch."""
        with self._changed:
            self.events.append(event)
            for each in self.streams["live"]:
                each.sendall(self._live(len(self.events)))

    def tell(self, kind: str, **data: object) -> None:
        """Send an event of hive."""
        with self._changed:
            for each in self.streams["hive"]:
                each.sendall(_block(kind, "x-9", {"kind": kind, "agent": "alice", "data": data}))

    def tell_of_child(self, event: str, value: object) -> None:
        """Send an event of the stream of alice's sub-agent, once somebody watches it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.of_child, 20.0)
            assert self.of_child is not None
            self.of_child.sendall(f"event: {event}\ndata: {json.dumps(value)}\n\n".encode())

    def send_raw(self, data: bytes) -> None:
        with self._changed:
            for each in self.streams["live"]:
                each.sendall(data)

    def wait_for_watchers(self, seconds: float = 20.0) -> None:
        """Wait until both streams have a reader."""
        with self._changed:
            assert self._changed.wait_for(lambda: all(self.streams.values()), seconds)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._changed:
            self._open.append(sock)
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        fields = dict(line.decode().lower().split(": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get("content-length", 0)):
            body += sock.recv(65536)
        if method == "GET" and path.startswith("/api/agents/alice/live"):
            self._stream_live(sock, fields.get("last-event-id", ""))
        elif method == "GET" and path == "/api/agents/alice/pods/child/events":
            with self._changed:
                sock.sendall(_HEAD + b'event: ready\ndata: {"agent":"alice"}\n\n')
                self.of_child = sock
                self._changed.notify_all()
        elif method == "GET" and path.startswith("/api/events"):
            with self._changed:
                sock.sendall(_HEAD + _block("ready", "x-8", {"after": "x-8"}))
                self.streams["hive"].append(sock)
                self._changed.notify_all()
        else:
            self._answer(sock, method, path.partition("?")[0], json.loads(body) if body else None)

    def _stream_live(self, sock: socket.socket, after: str) -> None:
        with self._changed:
            self.resumed.append(after)
            first = int(after.rpartition("-")[2]) if after else 0
            sock.sendall(_HEAD + _block("ready", after, {"newest": f"{LOG}-{len(self.events)}"}))
            for number in range(first + 1, len(self.events) + 1):
                sock.sendall(self._live(number))
            self.streams["live"].append(sock)
            self._changed.notify_all()

    def _answer(self, sock: socket.socket, method: str, path: str, body: object) -> None:
        status, value = self.answers.get(path, (404, {"title": "nothing", "detail": f"there is no {path}"}))
        data = json.dumps(value).encode()
        sock.sendall(f"HTTP/1.0 {status} x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        self._end(sock)
        if method == "POST":
            self.posts.put((path, body))

    def _live(self, number: int) -> bytes:
        position = f"{LOG}-{number}"
        return _block("live", position, {"id": position, "ts": number, "event": self.events[number - 1]})


_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def _block(kind: str, id: str, data: object) -> bytes:
    line = f"id: {id}\n" if id else ""
    return f"{line}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
