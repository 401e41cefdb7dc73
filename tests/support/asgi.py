"""One request to an ASGI application, without a socket: exactly the headers and the target that are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from api.http.asgi import App, Message


@dataclass(frozen=True)
class Answer:
    """What an application answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str:
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else ""

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Browser:
    """Asks `app` as a browser at `host` does. `headers` come with each request."""

    app: App
    host: str = "localhost:8420"
    client: tuple[str, int] = ("127.0.0.1", 40_000)
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.ask("GET", target, {"host": self.host, "accept": "text/html", **named(headers)})

    async def post(self, target: str, form: str = "", **headers: str) -> Answer:
        given = {
            "host": self.host,
            "origin": f"http://{self.host}",
            "content-type": "application/x-www-form-urlencoded",
            **named(headers),
        }
        return await self.ask("POST", target, given, form.encode())

    async def ask(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """Send a request with the headers of the browser and these. One that is "" is left out."""
        path, _, query = target.partition("?")
        merged = {**self.headers, **headers}
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "server": ("127.0.0.1", 8420),
            "client": self.client,
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(key.encode(), value.encode("latin-1")) for key, value in merged.items() if value],
            "state": {},
        }
        return await run(self.app, scope, body)


async def run(app: App, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """Return what `app` answers to the request `scope`. The peer then disconnects."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(start["status"], [(key.decode(), value.decode()) for key, value in start["headers"]], content)


def named(headers: dict[str, str]) -> dict[str, str]:
    """Return headers whose names were keywords."""
    return {key.replace("_", "-"): value for key, value in headers.items()}
