"""A scripted stand-in for the Anthropic Messages API, on loopback, with a log of its requests.

    with FakeMessages() as api:
        environment["ANTHROPIC_BASE_URL"] = api.url
        api.push({"text": "hello"})          # or a script in the prompt, see fake_messages
        ...
        api.calls("main")[-1]["body"]        # what the "model" was shown

The source of a step is the first of these: the newest script in the conversation, or what the model does by itself when
it reads certain words (`when`); the queue (`push`); for auxiliary calls (compaction summary, title, quota probe) a
fixed answer; else the last text of the user.
"""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from tests.support.fake_messages import (
    Json,
    Step,
    classify,
    error_body,
    events_of,
    last_user_text,
    message_of,
    scripted,
    unframed,
)


class FakeMessages:
    """The server. A prompt is too long if its messages have more than `context_limit` characters of JSON."""

    def __init__(self, context_limit: int | None = None, port: int = 0) -> None:
        self.requests: list[Json] = []
        """Every request: {"n", "t", "method", "path", "headers", "body", "kind", "step"}."""
        self.usages: list[Json] = []
        """What each answer said that it cost, of those that were sent to their end."""
        self.gone = False
        self._context_limit = context_limit
        self._queue: list[Step] = []
        self._standing: Step | None = None
        self._habits: dict[str, list[Step]] = {}
        self._uses: dict[str, int] = {}
        self._lock = threading.RLock()
        self._serial = itertools.count(1)
        self._server = _Server(self, port)
        self._thread = threading.Thread()
        self.sockets: dict[Path, _UnixServer] = {}
        self._more: list[_Server] = []
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in tuple(self.sockets):
            self.close(path)
        for server in (self._server, *self._more):
            server.shutdown()
            server.server_close()
        self._thread.join(5)

    def listen(self, path: Path) -> None:
        """Answer on a unix socket too, which every uid may reach."""
        path.unlink(missing_ok=True)
        server = self.sockets[path] = _UnixServer(self, path)
        path.chmod(0o666)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def listen_tls(self, context: ssl.SSLContext, host: str = "127.0.0.1") -> int:
        """Answer behind TLS too. Return the port."""
        server = _Server(self, 0, host)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._more.append(server)
        return int(server.server_address[1])

    def close(self, path: Path) -> None:
        """Answer on that socket no more, and remove it. Open connections break."""
        server = self.sockets.pop(path)
        server.shutdown()
        server.server_close()
        server.cut()
        path.unlink(missing_ok=True)

    def push(self, *steps: Step) -> None:
        """Queue steps for the next answers."""
        with self._lock:
            self._queue.extend(steps)

    def when(self, words: str, *steps: Step) -> None:
        """Do these steps by itself in a turn whose prompt has these words."""
        with self._lock:
            self._habits[words] = list(steps)

    def forget(self) -> None:
        """Forget the queue, the habits and the standing answer: another test begins."""
        with self._lock:
            self._queue.clear()
            self._habits.clear()
            self._standing = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be away meanwhile: open connections are cut and new ones refused. The port stays the same."""
        self.gone = True
        self._server.shutdown()
        self._server.socket.close()
        self._thread.join(5)
        try:
            yield
        finally:
            self.gone = False
            self._listen(self._port)

    def always(self, step: Step | None) -> None:
        """Answer every request for a message with this step, before scripts and the queue; None ends that."""
        with self._lock:
            self._standing = step

    def calls(self, kind: str | None = None) -> list[Json]:
        """Return the requests for a message, of one kind or of all."""
        with self._lock:
            return [seen for seen in self.requests if seen["path"].startswith("/v1/messages") and _of(seen, kind)]

    def record(self, entry: Json) -> None:
        """Record a request."""
        with self._lock:
            self.requests.append({"n": next(self._serial), "t": round(time.time(), 3), **entry})

    def choose(self, body: Json) -> tuple[str, Step]:
        """Return the kind of a request, and the step of its answer."""
        kind = classify(body)
        with self._lock:
            if self._standing is not None and kind != "aux":
                return kind, self._standing
            if kind == "compact":
                words = f"<summary>\nFAKE SUMMARY of {len(body['messages'])} messages\n</summary>"
                return kind, {"text": f"<analysis>scripted</analysis>\n{words}"}
            if kind == "aux":
                return kind, {"text": "ok" if body.get("max_tokens") == 1 else '{"title": "Fake title"}'}
            if self._context_limit and len(json.dumps(body["messages"])) > self._context_limit:
                return kind, {"error": 400, "kind": "prompt_too_long"}
            found = scripted(body, self._habits) or self._queued()
            return kind, self._used(*found) if found else {"text": f"echo: {unframed(last_user_text(body))[:200]}"}

    def _listen(self, port: int) -> None:
        self._server = _Server(self, port)
        self._serve()

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _queued(self) -> tuple[str, Step] | None:
        if not self._queue:
            return None
        step = self._queue[0]
        key = f"q{id(step)}"
        if self._uses.get(key, 0) + 1 >= step.get("times", 1) + bool(step.get("then")):
            self._queue.pop(0)
        return key, step

    def _used(self, key: str, step: Step) -> Step:
        """Return the step; after `times` uses return its `then`."""
        used = self._uses[key] = self._uses.get(key, 0) + 1
        later: Step = step["then"] if "then" in step and used > step.get("times", 1) else step
        return later


def _of(seen: Json, kind: str | None) -> bool:
    return bool(seen["kind"] == kind if kind else seen["kind"] != "count_tokens")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fake: FakeMessages, port: int, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.fake = fake

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionResetError | BrokenPipeError | ssl.SSLError):
            super().handle_error(request, client_address)


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fake: FakeMessages, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.fake = fake
        self._open: set[socket.socket] = set()

    def cut(self) -> None:
        """Break the open connections: a client keeps its own for the next request."""
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionResetError | BrokenPipeError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    @override
    def disable_nagle_algorithm(self) -> bool:  # type: ignore[override]
        """Return True for TCP: else each answer on a kept connection waits for an acknowledgement, 40 ms."""
        return bool(self.request.family != socket.AF_UNIX)

    @property
    def fake(self) -> FakeMessages:
        assert isinstance(self.server, _Server | _UnixServer)
        return self.server.fake

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass

    @override
    def parse_request(self) -> bool:
        if self.fake.gone:
            self.close_connection = True
            return False
        return super().parse_request()

    def do_HEAD(self) -> None:
        self._note()
        self._reply(200, {})

    def do_GET(self) -> None:
        self._note()
        if self.path.startswith("/v1/models"):
            self._reply(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})
        else:
            self._reply(404, error_body(404))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body: Json = json.loads(raw or b"{}")
        if self.path.startswith("/v1/messages/count_tokens"):
            self._note(body, "count_tokens")
            self._reply(200, {"input_tokens": len(raw) // 4})
        elif self.path.startswith("/v1/messages"):
            kind, step = self.fake.choose(body)
            self._note(body, kind, step)
            try:
                self._answer(step, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client went away, as when a turn is cancelled
        else:
            self._note(body)
            self._reply(404, error_body(404))

    def _note(self, body: Json | None = None, kind: str = "other", step: Step | None = None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        entry = {"method": self.command, "path": self.path, "kind": kind, "step": step, "headers": headers}
        self.fake.record({**entry, "body": body})

    def _reply(self, status: int, payload: Json, headers: Json | None = None) -> None:
        data = json.dumps(payload).encode()
        head = {"content-type": "application/json", "content-length": len(data), **(headers or {})}
        self._head(status, head)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, headers: Json) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value() if callable(value) else value))
        self.end_headers()

    def _answer(self, step: Step, body: Json) -> None:
        headers = {"request-id": f"req_fake{uuid.uuid4().hex[:12]}", **step.get("headers", {})}
        if "until" in step:
            step["until"].wait(60)
        if "hang" in step:
            time.sleep(step["hang"])
            step = {"text": "late answer", **step}
        if "error" in step:
            self._reply(step["error"], error_body(step["error"], step.get("kind"), step.get("message")), headers)
        elif body.get("stream"):
            self._stream(step, body, headers)
        else:
            time.sleep(step.get("chunks", 1) * step.get("delay", 0))
            message = message_of(step, body)
            self._reply(200, message, headers)
            self.fake.usages.append(message["usage"])

    def _stream(self, step: Step, body: Json, headers: Json) -> None:
        stream = {"content-type": "text/event-stream", "cache-control": "no-cache", "transfer-encoding": "chunked"}
        self._head(200, {**stream, **headers})
        message = message_of(step, body)
        for sent, (name, data, delta) in enumerate(events_of(message, step.get("chunks", 3))):
            if step.get("cut") == sent:
                self.close_connection = True
                self.connection.shutdown(2)
                return
            if delta and step.get("delay"):
                time.sleep(step["delay"])
            if "stream_error" in step and name == "message_delta":
                self._event("error", error_body(step["stream_error"]))
                break
            self._event(name, data)
        self.wfile.write(b"0\r\n\r\n")
        self.fake.usages.append(message["usage"])

    def _event(self, name: str, data: Json) -> None:
        chunk = f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.flush()
