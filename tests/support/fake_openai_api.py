"""A scripted stand-in for the APIs of OpenAI (Responses, Chat Completions) and Gemini, streamed, on loopback.

It drives the real codex (/v1/responses), opencode (/v1/chat/completions) and gemini (GOOGLE_GEMINI_BASE_URL):

    with FakeOpenAI() as api:
        api.push({"text": "hello"})          # or a script in the prompt
        api.calls()[-1]["body"]              # what the "model" was shown

The source of a step is the first of these: `always`; the newest script in the conversation (`@@plan [step, ...]`, or
`@@text words`, `@@tool NAME {json}`, `@@error 429`; the step used is number N = answers of the model since then); the
queue; else the last text of the user. Calls without tools and calls for JSON (titles, summaries, routing) get a fixed
answer. A step:

    {"text": "hi"}    {"text": "..", "chunks": 40, "delay": 0.25}    a slow stream    {"hang": 30}    nothing for 30 s
    {"tool": "NAME", "input": {..}}    the first offered tool whose name ends with NAME    {"thinking": "..", ...}
    {"error": 429}    {"error": 400, "kind": "overflow"}    {"error": 404, "kind": "model"}
    "usage": [input, cached, output]    tokens to report (default 10, 0, 5)
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from tests.support import fake_openai_forms as forms
from tests.support.fake_openai_forms import Event, Json, Question

_MODELS = [{"id": "gpt-fake", "object": "model", "owned_by": "fake"}]


class FakeOpenAI:
    """The server."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        """Every request: {"path", "headers", "body", "main", "step"}. `main`: it is a call with tools."""
        self._queue: list[Json] = []
        self._standing: Json | None = None
        self._lock = threading.Lock()
        self._server = _Server(self, 0)
        self._thread = threading.Thread()
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def push(self, *steps: Json) -> None:
        """Queue steps for the next answers."""
        with self._lock:
            self._queue.extend(steps)

    def forget(self) -> None:
        """Drop the steps that are queued."""
        with self._lock:
            self._queue.clear()

    def always(self, step: Json | None) -> None:
        """Answer every call with tools with this step; None ends that."""
        with self._lock:
            self._standing = step

    @contextmanager
    def away(self) -> Iterator[None]:
        """Listen to nobody meanwhile: connections are refused. The port stays the same."""
        self._server.shutdown()
        self._server.socket.close()
        self._thread.join(5)
        try:
            yield
        finally:
            self._server = _Server(self, self._port)
            self._serve()

    def calls(self) -> list[Json]:
        """Return the requests with tools."""
        with self._lock:
            return [seen for seen in self.requests if seen["main"]]

    def record(self, entry: Json) -> None:
        """Record a request."""
        with self._lock:
            self.requests.append(entry)

    def choose(self, question: Question) -> Json:
        """Return the step of an answer."""
        if question.canned:
            return {"text": question.canned}
        with self._lock:
            found = self._standing or forms.scripted(question) or (self._queue.pop(0) if self._queue else None)
        return found or {"text": "echo: " + question.last[:200]}

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fake: FakeOpenAI, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fake = fake

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionResetError | BrokenPipeError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        known = self.path.partition("?")[0].endswith("/models")
        self._reply(200 if known else 404, {"object": "list", "data": _MODELS} if known else {"error": {}})

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        fake = self.server.fake
        body: Json = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if ":countTokens" in self.path:
            self._reply(200, {"totalTokens": 10})
            return
        question = forms.question_of(self.path, body)
        step = fake.choose(question) if question else None
        main = question is not None and not question.canned
        fake.record({"path": self.path, "headers": headers, "body": body, "main": main, "step": step})
        if question is None or step is None:
            self._reply(404, {"error": {"message": "not here"}})
            return
        try:
            self._answer(step, question, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client went away, as when a turn is cancelled

    def _answer(self, step: Json, question: Question, body: Json) -> None:
        time.sleep(step.get("hang", 0))
        if "error" in step:
            self._reply(step["error"], forms.error_body(step, gemini=question.gemini))
        elif question.whole:
            self._reply(200, forms.gemini_frame(step, question.canned or step.get("text", ""), body))
        else:
            self._stream(step, question.answer(step, body))

    def _reply(self, status: int, payload: object) -> None:
        data = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, step: Json, events: Iterator[Event]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for name, data, piece in events:
            time.sleep(step.get("delay", 0) if piece else 0)
            head = f"event: {name}\n" if name else ""
            text = f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
