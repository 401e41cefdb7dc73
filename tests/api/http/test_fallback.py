"""Odd Host headers, and what nobody expected: problem details always, and at most one limited log line."""

from __future__ import annotations

import json
import logging
from itertools import product
from typing import TYPE_CHECKING

import pytest

from api.http.asgi import Message, Receive, Scope, Send
from api.http.fallback import with_fallback
from tests.api.http.test_broken_peers import answer, of

if TYPE_CHECKING:
    from tests.api.conftest import Hive

HOSTS = ["", "Host: a:b:c\r\n", "Host: a:99999999\r\n", "Host: \r\n", "Host: [\r\n", "Host: h:\r\n"]
SCOPE: Scope = {"type": "http", "method": "GET", "path": "/p"}


@pytest.mark.parametrize("whose", ["operator", "alice"])
async def test_any_host_or_none_gets_the_answer_of_its_path(
    hive: Hive, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [("GET", "/nope", 404), ("PUT", "/mcp", 405), ("GET", "/nope?a=[", 404)]
    for host, (method, path, status) in product(HOSTS, requests):
        text = await answer(of(hive, whose), f"{method} {path} HTTP/1.0\r\n{host}\r\n")
        head, _, body = text.partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == status
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_operators_views_need_no_host(hive: Hive) -> None:
    for host in HOSTS:
        text = await answer(hive.layout.http_socket, f"GET /api/status HTTP/1.0\r\n{host}\r\n")
        assert text.startswith(b"HTTP/1.1 200 ")


async def receive() -> Message:
    return {"type": "http.disconnect"}


async def test_an_app_that_raises_is_answered_with_problem_details(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await with_fallback(app)(SCOPE, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 500
    problem = json.loads(sent[1]["body"])
    assert (problem["type"], problem["hint"]) == ("urn:hive:internal", "see the daemon's log")
    (record,) = caplog.records
    assert record.getMessage() == "GET /p raised an unexpected error"
    assert record.__dict__["limited"]


async def test_an_app_that_raises_within_its_answer_sends_no_second_one() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await with_fallback(app)(SCOPE, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
