"""One notification on its way: to a real server on a loopback address, and to a real program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.attention.delivery import Delivery, NotDelivered
from reconciler.attention.message import Notification
from reconciler.attention.post import ANSWER_BYTES
from reconciler.attention.row import Row, Severity
from reconciler.attention.target import parse

SECRET = "s3cr3t"
NOTE = Notification("box", (Row("k", "question", Severity.HIGH, None, 1.0, "a title", "a body", "hive inbox"),))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """A server that gives every request the same bytes. `end` False: it never ends its answer."""

    answer: bytes
    end: bool
    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    now: int = 0
    most: int = 0
    handlers: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handlers.add(asyncio.current_task())
        self.now += 1
        self.most = max(self.most, self.now)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append((head[0], headers, body))
            self.now -= 1
            writer.write(self.answer)
            await writer.drain()
            if not self.end:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(answer: bytes = OK, *, end: bool = True) -> AsyncIterator[Server]:
    made = Server(answer, end)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        await asyncio.gather(*(handler for handler in made.handlers if handler is not None))


def to(server: Server, path: str = f"/{SECRET}?k={SECRET}", login: str = "", deadline: float = 5.0) -> Delivery:
    return Delivery(parse(f"http://{login}127.0.0.1:{server.port}{path}"), deadline)


def notify_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "notify"]


async def refusal(delivery: Delivery) -> str:
    with pytest.raises(NotDelivered) as raised:
        await delivery.send(NOTE)
    return raised.value.describe()


async def test_a_webhook_gets_json_with_the_login_of_the_url() -> None:
    async with serving() as server:
        back = await to(server, login=f"ops:{SECRET}@").send(NOTE)
        ((line, headers, body),) = server.requests
        assert (back.answer, back.text) == ("HTTP 200", "ok")
        assert line == f"POST /{SECRET}?k={SECRET} HTTP/1.1"
        assert headers["authorization"] == "Basic b3BzOnMzY3IzdA=="
        assert json.loads(body) == json.loads(NOTE.as_json())


async def test_ntfy_gets_the_topic_within_the_json_at_the_root_of_the_server() -> None:
    async with serving() as server:
        await Delivery(parse(f"ntfy+http://127.0.0.1:{server.port}/alerts")).send(NOTE)
        assert server.requests[0][0] == "POST / HTTP/1.1"
        assert json.loads(server.requests[0][2])["topic"] == "alerts"


async def test_a_redirect_is_not_followed() -> None:
    async with serving() as other:
        answer = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(answer.encode()) as server:
            assert "answered HTTP 307, and hive follows no redirect" in await refusal(to(server))
        assert other.requests == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\ns3cr3t", "HTTP 403"),
        (b"SSH-2.0-OpenSSH\r\n", "not one of HTTP"),
        (b"", "no connection"),
    ],
)
async def test_no_error_and_no_log_line_shows_the_address(
    answer: bytes, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(answer) as server:
        text = await refusal(to(server, login=f"ops:{SECRET}@"))
    assert says in text
    assert f"http://127.0.0.1:{server.port}/[...]" in text
    assert SECRET not in text + caplog.text


async def test_an_answer_that_repeats_the_address_is_shown_without_it_and_not_to_its_end() -> None:
    body = f"\x1b[2Jgot /{SECRET}?k={SECRET} ".encode() + b"x" * 10 * ANSWER_BYTES
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n" + body) as server:
        text = (await to(server).send(NOTE)).text
    assert text.startswith("got [...] xxx")
    assert (SECRET in text, len(text) <= 200) == (False, True)


@pytest.mark.parametrize("echo", ["pass word", "pass%20word", "operator", "to ken", "to%20ken", "a+key", "a key"])
async def test_an_answer_that_repeats_a_part_of_the_address_decoded_is_shown_without_it(echo: str) -> None:
    async with serving(f"HTTP/1.1 200 OK\r\n\r\ngot {echo}!".encode()) as server:
        text = (await to(server, "/to%20ken?k=a+key", login="operator:pass%20word@").send(NOTE)).text
    assert text == "got [...]!"


async def test_a_server_that_took_it_and_does_not_end_its_answer_gets_it_only_once() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", end=False) as server:
        assert (await to(server, deadline=0.3).send(NOTE)).answer == "HTTP 200"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_a_server_that_does_not_end_its_answer_is_left_at_the_deadline(answer: bytes) -> None:
    async with serving(answer, end=False) as server:
        assert "no answer within 0.2 s" in await refusal(to(server, deadline=0.2))
        for thread in notify_threads():
            await asyncio.to_thread(thread.join, 5)
        assert notify_threads() == []


async def test_two_notifications_are_sent_one_after_the_other() -> None:
    async with serving() as server:
        delivery = to(server)
        await asyncio.gather(delivery.send(NOTE), delivery.send(NOTE))
        assert (len(server.requests), server.most) == (2, 1)


async def test_an_address_where_nothing_listens_is_an_error() -> None:
    async with serving() as server:
        pass
    assert "no connection: Connection refused" in await refusal(to(server))


# commands
def program(directory: Path, text: str) -> Path:
    path = directory / "notify"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


async def test_a_command_gets_json_on_stdin_and_its_words_without_a_shell(tmp_path: Path) -> None:
    path = program(tmp_path, 'cat > "$1/stdin"; printf %s "$2" > "$1/word"')
    back = await Delivery(parse(f"{path} {tmp_path} '$(id) {SECRET}'")).send(NOTE)
    assert (back.answer, back.text) == ("exit code 0", "")
    assert json.loads((tmp_path / "stdin").read_bytes()) == json.loads(NOTE.as_json())
    assert (tmp_path / "word").read_text(encoding="utf-8") == f"$(id) {SECRET}"


@pytest.mark.parametrize(
    ("text", "deadline", "says"),
    [
        ('echo "$1" >&2; exit 3', 5.0, "ended with code 3"),
        ("exec cat /dev/zero", 5.0, "cannot be started, or writes too much"),
        ("cat >&-; exec tail -f /dev/null", 0.2, "did not end within 0.2 s"),
    ],
)
async def test_a_command_that_fails_is_named_without_its_arguments(
    tmp_path: Path, text: str, deadline: float, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = program(tmp_path, text)
    error = await refusal(Delivery(parse(f"{path} {SECRET}"), deadline))
    assert f"{path} [...] {says}" in error
    assert SECRET not in error + caplog.text


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    error = await refusal(Delivery(parse(f"{tmp_path}/nothing {SECRET}")))
    assert "cannot be started" in error
    assert SECRET not in error
