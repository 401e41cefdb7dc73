"""What an agent's http.sock refuses: other paths, nonsense, too much, too slow, too many."""

from __future__ import annotations

import asyncio
import logging
import socket
import stat
from typing import Any

import httpx2
import pytest

from api.http import agent, bounded
from api.http.requests import PATH_FIELD
from api.http.uds import PeerProtocol
from api.mcp import app, limits
from api.operations.table import OPERATIONS
from meta.names import MANAGER
from tests.api.conftest import Hive
from tests.support.fake_service import ALICE
from tests.support.mcp_client import call, raw, texts


@pytest.fixture
async def http(pods: Hive) -> Any:
    transport = httpx2.AsyncHTTPTransport(uds=str(pods.layout.agent_http_socket(ALICE)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hive", timeout=20) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/api/status", "/openapi.json", "/mcp/x", "/metrics", "/mcp%00"])
async def test_an_agents_socket_carries_nothing_but_mcp(http: httpx2.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:hive:not-found"


async def test_no_route_of_the_operator_is_on_an_agents_socket(pods: Hive, http: httpx2.AsyncClient) -> None:
    routes = [route for operation in OPERATIONS for route in operation.routes]
    assert len(routes) > 60
    for route in routes:
        answer = await http.request(route.method, PATH_FIELD.sub("1", route.path))
        assert answer.status_code == 404, route
    assert pods.fake.calls == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
async def test_mcp_takes_posts_only(http: httpx2.AsyncClient, method: str) -> None:
    answer = await http.request(method, "/mcp")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_request_over_the_limit_is_refused_unread(pods: Hive, http: httpx2.AsyncClient) -> None:
    limit = pods.config.max_line_bytes + app.ENVELOPE
    assert (await http.post("/mcp", content=b"x" * (limit + 1))).status_code == 413
    assert (await http.post("/mcp", content=b"x" * (limit * limits.READ_FACTOR + 1))).status_code == 413

    async def endless() -> Any:
        for _ in range(limits.READ_FACTOR * limit // 1000 + 2):
            yield b"x" * 1000

    assert (await http.post("/mcp", content=endless())).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"jsonrpc":"2.0"}', b"[" * 10_000, b'{"a":' * 3000 + b"1" + b"}" * 3000],
    ids=range(8),
)
@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28", "1", ""])
async def test_nonsense_is_the_peers_error(
    http: httpx2.AsyncClient, body: bytes, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
    }
    answer = await http.post("/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "body", ['{"to": "manager", "body": "\\ud800"}', '{"to": "manager", "body": ' + "[" * 200 + "]" * 200 + "}"]
)
async def test_what_no_line_could_hold_no_tool_takes(pods: Hive, body: str) -> None:
    given = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":{"to":"manager","body":'
        + body
        + "}}}"
    )
    async with asyncio.timeout(20):
        reader, writer = await raw(
            pods.layout.agent_http_socket(ALICE),
            given.encode(),
            {"MCP-Protocol-Version": "2025-06-18", "Connection": "close"},
        )
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert b" 500 " not in answer.splitlines()[0]
    assert b"error" in answer
    assert await pods.fake.broker.unread(MANAGER) == 0


async def test_an_agent_cannot_take_all_descriptors_of_the_daemon(pods: Hive) -> None:
    path = str(pods.layout.agent_http_socket(ALICE))
    async with asyncio.timeout(20):
        peers = [await asyncio.open_unix_connection(path) for _ in range(agent.CONNECTIONS + 1)]
        answer = await peers[-1][0].read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"too many connections" in answer
        for _, writer in peers:
            writer.close()
            await writer.wait_closed()
        while (await call(pods, ALICE, "whoami")).is_error:
            pass


async def test_a_peer_that_says_nothing_or_takes_its_time_is_cut_off(
    pods: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "HEAD_DEADLINE", 0.05)
    monkeypatch.setattr(app, "BODY_DEADLINE", 0.05)
    path = str(pods.layout.agent_http_socket(ALICE))
    async with asyncio.timeout(20):
        for begun in (b"", b"POST /mcp HTTP/1.1\r\nhost:"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(begun)
            assert await reader.read() == b""
            writer.close()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST /mcp HTTP/1.1\r\nhost: hive\r\ncontent-length: 10\r\n\r\nabc")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_half_bodies_of_one_agent_are_bounded_together(pods: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.sockets.budget.FREE", 0)
    monkeypatch.setattr("api.daemon.agent_sockets.AGENT_BYTES", 0)  # then it is twice the longest line
    await pods.sockets.close(ALICE)
    await pods.sockets.open(ALICE, None)
    path = str(pods.layout.agent_http_socket(ALICE))
    async with asyncio.timeout(20):
        peers = [await asyncio.open_unix_connection(path) for _ in range(3)]
        answers = [asyncio.ensure_future(reader.read()) for reader, _ in peers]
        for _, writer in peers:
            writer.write(b"POST /mcp HTTP/1.1\r\nhost: hive\r\ncontent-length: 4096\r\n\r\n" + b"x" * 4000)
        (refused,), _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result().startswith(b"HTTP/1.1 503 ")
        assert b"too many bytes of unfinished requests" in refused.result()
        for (_, writer), answer in zip(peers, answers, strict=True):
            writer.close()
            answer.cancel()


async def test_a_body_of_very_many_values_is_refused_and_a_text_with_many_commas_is_not(pods: Hive) -> None:
    many = b'{"x":[' + b"{}," * (limits.MAX_VALUES + 1) + b"{}]}"
    reader, writer = await raw(pods.layout.agent_http_socket(ALICE), many, {})
    assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    sent = await call(pods, ALICE, "send", to="operator", body="," * 2 * limits.MAX_VALUES)
    assert not sent.is_error, texts(sent)


async def test_a_body_in_chunks_of_one_byte_is_read_slice_by_slice(
    pods: Hive, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices: list[int] = []
    read = PeerProtocol.data_received

    def counted(self: Any, data: bytes) -> None:
        slices.append(len(data))
        read(self, data)

    monkeypatch.setattr(PeerProtocol, "data_received", counted)

    async def single() -> Any:
        for _ in range(5_000):
            yield b" "

    answer = await http.post("/mcp", content=single())
    assert answer.status_code == 400
    assert max(slices) <= bounded.SLICE
    assert sum(slices) > 5_000 * len(b"1\r\n \r\n")


async def test_a_uid_outside_of_the_range_is_refused(pods: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    await pods.sockets.close(ALICE)
    monkeypatch.setattr("api.daemon.agent_sockets.admission", lambda _peers: lambda _uid: False)
    await pods.sockets.open(ALICE, None)
    transport = httpx2.AsyncHTTPTransport(uds=str(pods.layout.agent_http_socket(ALICE)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hive") as client:
        answer = await client.post("/mcp", json={})
    assert answer.status_code == 403
    assert "may not use this socket" in answer.json()["title"]


async def test_the_socket_has_its_mode_and_is_made_again_when_it_is_gone_or_stale(pods: Hive) -> None:
    path = pods.layout.agent_http_socket(ALICE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    path.unlink()
    assert not pods.sockets.present(ALICE)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert not pods.sockets.present(ALICE)
    await pods.sockets.open(ALICE, None)
    assert pods.sockets.present(ALICE)
    assert texts(await call(pods, ALICE, "whoami"))[0] == "alice (agent), hive rev1"
