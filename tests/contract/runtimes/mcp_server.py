"""A tiny MCP server over HTTP, in the standard library: the tools `send` and `wait`, with a log of their calls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from harness.runtimes.base import McpEndpoint
from harness.runtimes.listings import Listings

TOKEN = "the-token-of-this-boot"
_TEXT = {"type": "string"}
_TOOLS = [
    {
        "name": "send",
        "description": "Send a message.",
        "inputSchema": {"type": "object", "properties": {"to": _TEXT, "body": _TEXT}, "required": ["to", "body"]},
    },
    {"name": "wait", "description": "Wait.", "inputSchema": {"type": "object", "properties": {}}},
]


class TinyMcp:
    """The server. `wait` answers once `release` is set, `tools/list` after `seconds`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.down = False
        """It answers nothing but an error."""
        self._listed: Callable[[], object] | None = None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.called = threading.Event()
        self.release = threading.Event()
        self.refused = 0
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/mcp"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def endpoint(self) -> McpEndpoint:
        """Return what a runtime in the running loop gets. As with hive's relay, it sees when the tools are fetched."""
        listings, loop = Listings(), asyncio.get_running_loop()
        self._listed = partial(loop.call_soon_threadsafe, listings.add)
        return McpEndpoint(self.url, TOKEN, listings)

    def note(self, request: dict[str, Any]) -> None:
        """Take a request whose answer the CLI has now."""
        if request.get("method") == "tools/list" and self._listed is not None:
            self._listed()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, without its id."""
        match request.get("method"):
            case "initialize":
                info = {"name": "tiny", "version": "1"}
                version = request["params"]["protocolVersion"]
                return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}}
            case "tools/list":
                time.sleep(self.seconds)
                return {"result": {"tools": _TOOLS}}
            case "ping":
                return {"result": {}}
            case "tools/call":
                name, arguments = request["params"]["name"], request["params"].get("arguments") or {}
                self.calls.append((name, arguments))
                self.called.set()
                if name == "wait":
                    self.release.wait(20)
                return {"result": {"content": [{"type": "text", "text": f"{name} is done"}]}}
            case _:
                return {"error": {"code": -32601, "message": "no such method"}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, mcp: TinyMcp) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mcp = mcp

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A CLI that was killed left in the middle of a call."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(405, b"")

    def do_DELETE(self) -> None:
        self._reply(200, b"")

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.mcp.down:
            self._reply(503, b"hive is not running")
        elif self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.server.mcp.refused += 1
            self._reply(401, b"")
        elif "id" not in body:
            self._reply(202, b"")
        else:
            answer = {"jsonrpc": "2.0", "id": body["id"], **self.server.mcp.answer(body)}
            self._reply(200, json.dumps(answer).encode())
            self.server.mcp.note(body)

    def _reply(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
