"""The SDK's own client over a unix socket, and bare requests for tests that own the connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from meta.names import AgentName
from reconciler.messaging.broker import Broker

if TYPE_CHECKING:
    from tests.api.conftest import Hive

NEWEST = "2026-07-28"
Mode = Literal["legacy", "auto"]
MODES: tuple[Mode, ...] = ("legacy", "auto")
"""Both versions of the protocol: the handshake of 2025, and the newest, whose requests are independent."""


@contextlib.asynccontextmanager
async def connected(path: Path, mode: Mode = "auto") -> AsyncIterator[Client]:
    """Yield a client of the server behind `path`."""
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    async with (
        httpx2.AsyncClient(transport=transport, timeout=30) as http,
        Client(streamable_http_client("http://hive/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def texts(result: CallToolResult) -> list[str]:
    """Return the texts that a model reads."""
    return [block.text for block in result.content if isinstance(block, TextContent)]


async def call(pods: Hive, agent: AgentName, tool: str, mode: Mode = "auto", /, **arguments: Any) -> CallToolResult:
    async with connected(pods.layout.agent_http_socket(agent), mode) as client:
        return await client.call_tool(tool, arguments)


async def raw_call(
    path: Path, mode: Mode, tool: str, arguments: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a call on a connection that the test owns."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    modern = {"_meta": meta} if mode != "legacy" else {}
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, **modern},
    }
    headers = {"MCP-Protocol-Version": "2025-06-18" if mode == "legacy" else NEWEST}
    if mode != "legacy":
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
    return await raw(path, json.dumps(body).encode(), headers)


async def raw(path: Path, body: bytes, headers: dict[str, str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    lines = {
        "Host": "hive",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
    return reader, writer


class Polls:
    """Counts the `recv` that have begun to wait, and those that are over."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self._changed = asyncio.Condition()
        self._begun = self._over = 0
        self._recv = broker.recv
        monkeypatch.setattr(broker, "recv", self._counted)

    async def _counted(self, *given: Any, **options: Any) -> Any:
        try:
            async with self._changed:
                self._begun += 1
                self._changed.notify_all()
            return await self._recv(*given, **options)
        finally:
            async with self._changed:
                self._over += 1
                self._changed.notify_all()

    async def begun(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._begun >= count)

    async def over(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._over >= count)
