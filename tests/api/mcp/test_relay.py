"""hive's tools through the harness's relay: the SDK's own client on loopback, hive's real server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from harness.relay.mcp import mcp_relay
from harness.runtimes.base import McpEndpoint
from meta.names import MANAGER
from tests.api.conftest import Hive
from tests.support.fake_service import ALICE
from tests.support.mcp_client import MODES, Mode, Polls, texts

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


@pytest.fixture
async def endpoint(pods: Hive) -> AsyncIterator[McpEndpoint]:
    async with mcp_relay(pods.layout.agent_http_socket(ALICE), patience=0.1) as endpoint:
        yield endpoint


@contextlib.asynccontextmanager
async def client_of(endpoint: McpEndpoint, mode: Mode = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=90, trust_env=False) as http,
        Client(streamable_http_client(endpoint.url, http_client=http), mode=mode) as client,
    ):
        yield client


async def post(endpoint: McpEndpoint, token: str | None) -> int:
    headers = HEADERS | ({} if token is None else {"Authorization": f"Bearer {token}"})
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.post(endpoint.url, json=LIST, headers=headers)).status_code


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_uses_the_tools(pods: Hive, endpoint: McpEndpoint, mode: Mode) -> None:
    async with client_of(endpoint, mode) as client:
        assert {"send", "recv", "whoami"} <= {tool.name for tool in (await client.list_tools()).tools}
        await client.call_tool("send", {"to": "manager", "body": "built"})
    delivery = await pods.fake.broker.recv(MANAGER, 0)
    assert delivery is not None
    assert (delivery.sender, delivery.body) == ("alice", "built")


async def test_a_wrong_or_missing_token_reaches_nothing(pods: Hive, endpoint: McpEndpoint) -> None:
    assert await post(endpoint, endpoint.token) == 200
    assert [await post(endpoint, token) for token in (None, "wrong", endpoint.token[:-1])] == [401] * 3


async def test_twenty_calls_at_once_are_all_answered(pods: Hive, endpoint: McpEndpoint) -> None:
    async with client_of(endpoint) as client:
        calls = [client.call_tool("send", {"to": "manager", "body": f"{number}"}) for number in range(20)]
        results = await asyncio.gather(*calls)
    assert [result.is_error for result in results] == [False] * 20
    bodies = {delivery.body for _ in range(20) if (delivery := await pods.fake.broker.recv(MANAGER, 0)) is not None}
    assert bodies == {f"{number}" for number in range(20)}


async def test_a_recv_that_waits_gets_what_comes_meanwhile(
    pods: Hive, endpoint: McpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = Polls(pods.fake.broker, monkeypatch)
    async with client_of(endpoint) as client:
        call = asyncio.ensure_future(client.call_tool("recv", {"wait_seconds": 60}))
        await polls.begun(1)
        await pods.fake.broker.send("manager", ALICE, "wake up")
        assert "wake up" in texts(await call)[0]


@pytest.mark.full  # it waits for a minute
@pytest.mark.timeout(120)
async def test_a_recv_of_sixty_seconds_is_not_cut_off(pods: Hive, endpoint: McpEndpoint) -> None:
    async with client_of(endpoint) as client:
        began = time.monotonic()
        assert texts(await client.call_tool("recv", {"wait_seconds": 60}))[0] == "no message"
        assert time.monotonic() - began >= 59


async def test_a_cli_that_dies_in_recv_takes_no_message_with_it(
    pods: Hive, endpoint: McpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = Polls(pods.fake.broker, monkeypatch)
    params = {"name": "recv", "arguments": {"wait_seconds": 60}}
    headers = HEADERS | {"Authorization": f"Bearer {endpoint.token}"}
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        body = {**LIST, "method": "tools/call", "params": params}
        call = asyncio.ensure_future(http.post(endpoint.url, json=body, headers=headers))
        await polls.begun(1)
        call.cancel()
    await polls.over(1)
    await pods.fake.broker.send("manager", ALICE, "still here")
    delivery = await pods.fake.broker.recv(ALICE, 0)
    assert delivery is not None
    assert delivery.body == "still here"


async def test_a_restart_of_the_daemon_is_503_for_one_request_and_the_next_works(
    pods: Hive, endpoint: McpEndpoint
) -> None:
    assert await post(endpoint, endpoint.token) == 200
    await pods.sockets.close(ALICE)
    assert await post(endpoint, endpoint.token) == 503
    await pods.sockets.open(ALICE, None)
    assert await post(endpoint, endpoint.token) == 200
