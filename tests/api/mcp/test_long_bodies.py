"""A body of up to 1 MiB gets through on every surface, however long JSON makes it; what is too long is told as such."""

from __future__ import annotations

import asyncio
import json

import pytest

from api.mcp import app
from api.mcp.limits import END_BYTES, LongBody
from harness.connect import LINE_LIMIT
from meta.config import Config
from meta.names import MANAGER, AgentName
from tests.api.conftest import Hive
from tests.api.http.test_app import call as over_http
from tests.support.fake_service import ALICE
from tests.support.mcp_client import MODES, Mode, call, raw, texts

MIB = 2**20
BODIES = pytest.mark.parametrize(
    "body", ["x" * MIB, "\x01" * MIB, "\u2028" * (MIB // 3)], ids=["plain", "control", "wide"]
)


@pytest.fixture
def line_limit() -> int:
    return Config().max_line_bytes


async def received(hive: Hive, agent: AgentName) -> str:
    """The body of the next message, from the agent's own socket."""
    (line,) = await hive.lines(hive.layout.mcp_socket(agent), b'{"cmd":"recv","wait_seconds":0}\n')
    assert len(line) < LINE_LIMIT
    found = json.loads(line)
    assert found["kind"] == "message", found
    return str(found["body"])


@BODIES
async def test_a_body_of_a_mebibyte_goes_over_the_line(pods: Hive, body: str) -> None:
    line = json.dumps({"cmd": "send", "to": "manager", "body": body}).encode() + b"\n"
    (answer,) = await pods.lines(pods.layout.mcp_socket(ALICE), line)
    assert json.loads(answer) == {"kind": "ok"}
    assert await received(pods, MANAGER) == body


@BODIES
async def test_a_body_of_a_mebibyte_goes_over_mcp(pods: Hive, body: str) -> None:
    sent = await call(pods, ALICE, "send", to="manager", body=body)
    assert (sent.is_error, texts(sent)[0]) == (False, "sent to manager")
    assert await received(pods, MANAGER) == body


@BODIES
async def test_a_body_of_a_mebibyte_goes_over_http(hive: Hive, body: str) -> None:
    text = json.dumps({"to": "alice", "body": body}).encode()
    status, _, value = await asyncio.to_thread(over_http, hive.layout.http_socket, "POST", "/api/messages", text)
    assert status == 201, value
    assert await received(hive, ALICE) == body


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [MIB + 1, 9 * MIB], ids=["a body", "a request"])
async def test_what_is_too_long_is_an_error_of_the_tool(pods: Hive, mode: Mode, size: int) -> None:
    sent = await call(pods, ALICE, "send", mode, to="manager", body="x" * size)
    assert sent.is_error
    error, hint = texts(sent)[0].splitlines()
    assert error.startswith("error: ")
    assert ("1048576" if size < 8 * MIB else str(pods.config.max_line_bytes + app.ENVELOPE)) in error
    assert hint
    assert texts(sent)[1:] == ["0 unread"]
    assert await pods.fake.broker.unread(MANAGER) == 0


async def test_what_is_too_long_is_an_error_of_the_tool_where_the_id_comes_last(pods: Hive) -> None:
    params = {"name": "send", "arguments": {"to": "manager", "body": "x" * 9 * MIB}}
    body = json.dumps({"method": "tools/call", "params": params, "jsonrpc": "2.0", "id": 41}).encode()
    headers = {"MCP-Protocol-Version": "2025-06-18", "Connection": "close"}
    async with asyncio.timeout(20):
        reader, writer = await raw(pods.layout.agent_http_socket(ALICE), body, headers)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert b" 200 " in answer.splitlines()[0]
    assert b'"id":41' in answer
    assert b"longer than" in answer


@pytest.mark.parametrize(
    ("head", "tail", "id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":"', b'"}}', 7),
        (b' { "id" : "a-1" , "method" : "tools/call","params":{"x":"', b'"}}', "a-1"),
        (b'{"method":"tools/call","params":{"x":"', b'"},"jsonrpc":"2.0","id":8}\n', 8),
        (b'{"method":"tools/call","params":{"x":"', b'"},"id":9,"jsonrpc":"2.0"}', 9),
        (b'{"method":"tools/call","params":{"id":5,"x":"', b'"}}', None),
        (b'{"method":"tools/call","params":{"x":"', b'\\",\\"id\\":5}"}}', None),
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"x":"', b'"}}', None),
        (b"", b"", None),
    ],
)
def test_the_id_is_the_requests_own_or_none(head: bytes, tail: bytes, id: int | str | None) -> None:
    body = LongBody()
    for part in (head, b"y" * END_BYTES * 2, b"z", tail):
        body.add(part)
    call = body.substitute({})
    assert (None if call is None else json.loads(call)["id"]) == id
