"""Peers that break HTTP: on both http.sock they get a problem or an end, and raise nothing inside."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from tests.support.fake_service import ALICE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Hive

CHUNKED = "HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
BROKEN = {
    "chunk": [f"POST /mcp {CHUNKED}zz\r\n"],
    "chunk of a head": [f"HEAD /mcp {CHUNKED}zz\r\n"],
    "chunk of an unknown path": [f"GET /nope {CHUNKED}zz\r\n"],
    "second chunk": [f"POST /mcp {CHUNKED}1\r\na\r\n", "zz\r\n"],
    "chunk after the answer": [f"GET /nope {CHUNKED}", "", "", "zz\r\n"],
    "chunk after expect": ["POST /mcp HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n" + CHUNKED[19:], "zz\r\n"],
    "next request": ["GET /nope HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n"],
    "request after the last": [f"GET /nope {CLOSE}", f"GET /nope {CLOSE}"],
    "request after the last, at once": [f"GET /nope {CLOSE}GET /nope {CLOSE}" + "x" * 2000],
    "request after one of HTTP/1.0": ["GET /nope HTTP/1.0\r\nHost: h\r\n\r\n", "GET /nope HTTP/1.0\r\n\r\n"],
    "end within a body": ["POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"],
}


async def answer(path: Path, *parts: str) -> bytes:
    """What the peer gets that sends each part one turn of the loop after the last, and then ends."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(str(path))
        for part in parts:
            writer.write(part.encode())
            await asyncio.sleep(0)
        writer.write_eof()
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def of(hive: Hive, whose: str) -> Path:
    return hive.layout.http_socket if whose == "operator" else hive.layout.agent_http_socket(ALICE)


@pytest.mark.parametrize("whose", ["operator", "alice"])
@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
async def test_a_broken_request_raises_nothing_inside(
    hive: Hive, whose: str, parts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    head, _, body = (await answer(of(hive, whose), *parts)).partition(b"\r\n\r\n")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert b" 500 " not in head
    if head.startswith(b"HTTP/1.1 400 ") and body:
        assert json.loads(body)["hint"]


@pytest.mark.parametrize("whose", ["operator", "alice"])
async def test_what_follows_the_last_request_does_not_replace_its_answer(hive: Hive, whose: str) -> None:
    text = await answer(of(hive, whose), *BROKEN["request after the last"])
    assert text.startswith(b"HTTP/1.1 404 ")
    assert text.count(b"HTTP/1.1 4") == 1


async def test_the_log_of_broken_requests_is_limited(hive: Hive, caplog: pytest.LogCaptureFixture) -> None:
    await answer(hive.layout.http_socket, "nonsense\r\n\r\n")
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert record.__dict__["limited"]
