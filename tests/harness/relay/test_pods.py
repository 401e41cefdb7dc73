"""The tools for sub-agents on the loopback port, beside hive's or alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from harness.relay import pods
from harness.relay.mcp import mcp_relay
from harness.runtimes.base import McpEndpoint
from harness.subagents.mcp import BODY_BYTES
from tests.harness.relay.test_mcp import DEADLINE, Client
from tests.harness.subagents.fake_agents import FakeAgents
from tests.support.mcp_client import MODES, Mode

LIST = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_pods"}}'
AT = b"/pods"


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents()


@pytest.fixture
async def endpoint(agents: FakeAgents) -> AsyncIterator[McpEndpoint]:
    """The tools for sub-agents alone."""
    async with asyncio.timeout(DEADLINE), mcp_relay(None, pods=agents) as endpoint:
        yield endpoint


class PodsClient(Client):
    """A connection to the port of an endpoint that may have no hive's tools."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        super().__init__(McpEndpoint(endpoint.pods or endpoint.url, endpoint.token))


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_uses_the_tools(agents: FakeAgents, endpoint: McpEndpoint, mode: Mode) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {endpoint.token}"}, trust_env=False) as http,
        McpClient(streamable_http_client(endpoint.pods, http_client=http), mode=mode) as client,
    ):
        assert "spawn_pod" in {tool.name for tool in (await client.list_tools()).tools}
        given = {"name": "tests", "task": "run them", "scope": [{"target": "src", "permission": "write"}]}
        result = await client.call_tool("spawn_pod", given)
    assert [part.text for part in result.content if isinstance(part, TextContent)] == ["spawn is done"]
    assert [call[0] for call in agents.calls] == ["spawn"]


async def test_without_the_token_no_tool_is_called(agents: FakeAgents, endpoint: McpEndpoint) -> None:
    async with PodsClient(endpoint) as client:
        client.token = b"Authorization: Bearer wrong\r\n"
        client.post(LIST, target=AT)
        assert await client.status() == 401
    assert agents.calls == []


async def test_each_of_both_is_served_only_where_it_was_given(agents: FakeAgents, tmp_path: Path) -> None:
    async def status(endpoint: McpEndpoint, target: bytes) -> int:
        async with PodsClient(endpoint) as client:
            client.post(LIST, target=target)
            return await client.status()

    nobody = tmp_path / "http.sock"
    async with (
        mcp_relay(None, pods=agents) as alone,
        mcp_relay(nobody, patience=0) as hive,
        mcp_relay(nobody, pods=agents, patience=0) as both,
    ):
        found = [[await status(each, target) for target in (b"/mcp", AT, b"/pods/")] for each in (alone, hive, both)]
        assert (list(alone.servers), list(hive.servers), list(both.servers)) == (["pods"], ["hive"], ["hive", "pods"])
        assert (alone.listings is None, hive.listings is None) == (True, False)
    assert found == [[404, 200, 404], [503, 404, 404], [503, 200, 404]]


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"PUT"])
async def test_there_is_neither_a_stream_nor_a_session(endpoint: McpEndpoint, method: bytes) -> None:
    async with PodsClient(endpoint) as client:
        client.writer.write(method + b" /pods HTTP/1.1\r\nHost: x\r\n" + client.token + b"\r\n")
        assert await client.status() == 405


async def test_a_connection_serves_many_requests_and_one_in_chunks(agents: FakeAgents, endpoint: McpEndpoint) -> None:
    async with PodsClient(endpoint) as client:
        for _ in range(2):
            client.post(LIST, target=AT)
            assert json.loads((await client.answer())[1])["id"] == 1
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST)
        head = b"POST /pods HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked\r\n\r\n" % client.token
        client.writer.write(head + chunks)
        assert await client.status() == 200
    assert len(agents.calls) == 3


async def test_a_notification_has_no_answer_but_its_status(endpoint: McpEndpoint) -> None:
    async with PodsClient(endpoint) as client:
        client.post(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', target=AT)
        assert await client.answer() == (202, b"")


async def test_a_body_that_is_too_long_is_refused(agents: FakeAgents, endpoint: McpEndpoint) -> None:
    async with PodsClient(endpoint) as client:
        client.post(LIST + b" " * BODY_BYTES, target=AT)
        assert await client.status() == 413
    assert agents.calls == []


async def test_a_body_that_does_not_end_keeps_no_connection(
    endpoint: McpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "BODY_SECONDS", 0.05)
    async with PodsClient(endpoint) as client:
        client.writer.write(b"POST /pods HTTP/1.1\r\nHost: x\r\n%sContent-Length: 9\r\n\r\n{" % client.token)
        assert await client.status() == 408


async def test_calls_go_on_beside_one_that_waits_and_its_client_may_go_away(
    agents: FakeAgents, endpoint: McpEndpoint
) -> None:
    agents.hold = hold = asyncio.Event()
    async with PodsClient(endpoint) as waiting, PodsClient(endpoint) as other:
        waiting.post(LIST, target=AT)
        while not agents.calls:
            await asyncio.sleep(0)
        agents.hold = None
        other.post(LIST, target=AT)
        assert await other.status() == 200
        hold.set()
    async with PodsClient(endpoint) as client:
        client.post(LIST, target=AT)
        assert await client.status() == 200


async def test_no_more_calls_than_there_may_be_are_done_at_a_time(agents: FakeAgents, endpoint: McpEndpoint) -> None:
    async def one() -> int:
        async with PodsClient(endpoint) as client:
            client.post(LIST, target=AT)
            return await client.status()

    agents.hold = asyncio.Event()
    asked = [asyncio.create_task(one()) for _ in range(2 * pods.CALLS)]
    while len(agents.calls) < pods.CALLS:
        await asyncio.sleep(0)
    async with PodsClient(endpoint) as client:  # a round trip: who could begin has begun
        client.post(b"", target=b"/")
        assert await client.status() == 404
    assert len(agents.calls) == pods.CALLS
    agents.hold.set()
    assert await asyncio.gather(*asked) == [200] * 2 * pods.CALLS
