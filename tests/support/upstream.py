"""Servers that a way out leads to: HTTP with and without TLS, an echo, on listeners of any namespace.

upstream = Upstream()
upstream.https(listener, "api.example")     # GET / -> "https api.example"; GET /go?URL -> 302; GET /size?N -> N bytes
upstream.echo(other, banner=b"SSH-2.0-x\\r\\n")
upstream.requests                            # [("https", "GET", "/", {"host": ...}), ...]
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

from typing_extensions import override

from tests.support.own_ca import server_context


class Seen(NamedTuple):
    """A request that arrived. Names of headers are lower case; a header that came twice is joined by a comma."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Upstream:
    """Servers in threads of this process. They end with the block."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.connections: list[str] = []
        """The names of the servers that got a connection, in order."""
        self.files: dict[str, bytes] = {}
        """The bodies of some paths. HEAD and GET answer with them, and with 404 for other paths once there are some."""
        self._ends: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._ends:
            end()

    def http(self, listener: socket.socket, name: str = "http") -> None:
        """Serve plain HTTP."""
        server = _Server(self, listener, name)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._ends += [server.shutdown, server.server_close]

    def https(self, listener: socket.socket, *names: str, name: str = "https") -> None:
        """Serve HTTP behind TLS with a certificate of these names."""
        self.http(_tls(listener, server_context(*names)), name)

    def echo(self, listener: socket.socket, banner: bytes = b"", name: str = "echo") -> None:
        """Send a banner, then back what comes."""
        threading.Thread(target=self._accept, args=(listener, banner, name), daemon=True).start()
        self._ends.append(lambda: listener.shutdown(socket.SHUT_RDWR))

    def listen_echo(self, banner: bytes = b"", name: str = "echo") -> int:
        """Send a banner, then back what comes, on loopback. Return the port."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.echo(listener, banner, name)
        return int(listener.getsockname()[1])

    def listen_http(self, name: str = "http") -> int:
        """Serve plain HTTP on loopback. Return the port."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.http(listener, name)
        return int(listener.getsockname()[1])

    def reached(self, name: str) -> int:
        """Return the number of connections of a server."""
        return self.connections.count(name)

    def _accept(self, listener: socket.socket, banner: bytes, name: str) -> None:
        with listener:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                self.connections.append(name)
                threading.Thread(target=_echo, args=(connection, banner), daemon=True).start()


def _echo(connection: socket.socket, banner: bytes) -> None:
    with connection, contextlib.suppress(OSError):
        connection.sendall(banner)
        while data := connection.recv(65_536):
            connection.sendall(data)


def _tls(listener: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return the listener with TLS. The handshake is for the thread of the connection, not for the one that accepts."""
    return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: Upstream, listener: socket.socket, name: str) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.upstream = upstream
        self.name = name

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off is what some tests want."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def _here(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    @override
    def setup(self) -> None:
        self._here.upstream.connections.append(self._here.name)
        super().setup()

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        self._here.upstream.requests.append(Seen(self._here.name, self.command, self.path, headers, body))
        path, _, query = self.path.partition("?")
        data = f"{self._here.name} {self.headers['host']}\n".encode()
        status = 200
        if self._here.upstream.files and path not in ("/size", "/go"):
            data, status = self._here.upstream.files.get(path, b""), 200 if path in self._here.upstream.files else 404
        elif path == "/size":
            data = b"x" * int(query)
        elif path == "/go":
            status = 302
        self.send_response(status)
        if path == "/go":
            self.send_header("location", query)
        self.send_header("content-type", "application/octet-stream" if "." in path.rpartition("/")[2] else "text/html")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET
