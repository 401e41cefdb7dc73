"""HTTP on an agent's socket of a whole `hive-egress`: plain, behind a CONNECT to port 80, and by a key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meta.network.policy import AgentPolicy, Policy
from meta.network.report import Metered
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.egress.pool import system_trust
from tests.reconciler.egress.lab import ALICE, Lab
from tests.support.egress_http import Agent, Visit, upstream
from tests.support.own_ca import ca_file, server_context

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"
TOKENS = b'{"usage":{"input_tokens":5,"output_tokens":7}}'
MODEL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(TOKENS) + TOKENS


@asynccontextmanager
async def served(
    lab: Lab, tmp_path: Path, answer: bytes, name: str = ""
) -> AsyncIterator[tuple[Agent, list[bytes], int]]:
    """An upstream, with TLS if it has a name, and an agent's connection to the real server."""
    heads: list[bytes] = []

    async def serve(visit: Visit) -> None:
        while not visit.reader.at_eof():
            heads.append((await visit.request())[0])
            await visit.send(answer)

    async with upstream(serve, server_context(name) if name else None) as port, asyncio.timeout(20):
        lab.names.addresses.update({"web.example": ["127.0.0.1"], "api.example": ["127.0.0.1"]})
        (tmp_path / "key").write_text("sk-real")
        (tmp_path / "key").chmod(0o600)
        lab.configure(
            f'private = ["web.example:{port}"]\n[credentials.anthropic]\nfile = "{tmp_path}/key"\n'
            f'upstream = "https://api.example:{port}"\n'
        )
        await lab.server.tick()
        lab.folder()
        await push(lab, port)
        agent = Agent(*await lab.ask(b""))
        try:
            yield agent, heads, port
        finally:
            agent.writer.transport.abort()


async def push(lab: Lab, port: int, held: str = "") -> None:
    rules = (parse_rule(f"web.example:{port}"),)
    await lab.server.set_policy(Policy({ALICE: AgentPolicy(rules, routes=frozenset({"anthropic"}), held=held)}))


async def test_plain_http_is_forwarded_counted_and_refused_like_a_tunnel(way_out: Lab, tmp_path: Path) -> None:
    async with served(way_out, tmp_path, PAGE) as (agent, heads, port):
        target = f"http://web.example:{port}/"
        _, body = await agent.ask(f"GET {target} HTTP/1.1\r\nHost: web.example:{port}\r\n\r\n".encode())
        assert body == b"page"
        head, _ = await agent.ask(b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 other.example:80-is-not-on-the-list-of-alice (ask with request_network)")
        allowed, refused = way_out.records()
    assert (allowed.kind, allowed.host, allowed.port, allowed.verdict) == ("http", "web.example", port, Verdict.ALLOWED)
    assert (allowed.sent, allowed.received) == (len(heads[0]), len(PAGE))
    assert (refused.kind, refused.host, refused.verdict) == ("http", "other.example", Verdict.NOT_LISTED)


async def test_a_private_address_is_refused_for_plain_http_too(way_out: Lab, tmp_path: Path) -> None:
    async with served(way_out, tmp_path, PAGE) as (agent, heads, port):
        way_out.configure("")
        await way_out.server.tick()
        head, _ = await agent.ask(
            f"GET http://web.example:{port}/ HTTP/1.1\r\nHost: web.example:{port}\r\n\r\n".encode()
        )
    assert head.startswith(f"HTTP/1.1 403 web.example:{port}-resolves-to-an-address-of-kind-loopback".encode())
    assert not heads


async def test_behind_a_connect_to_port_80_each_host_is_checked(way_out: Lab) -> None:
    await way_out.push("web.example:80")
    reader, writer = await way_out.tunnel("web.example:80")
    writer.write(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 other.example:80-is-not-web.example:80")
    writer.close()
    assert [record.verdict for record in way_out.records()] == [Verdict.HOST_HEADER]


async def test_a_key_is_added_outside_and_its_tokens_are_metered(
    way_out: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file()))
    system_trust.cache_clear()
    ask = b"POST /anthropic/v1/messages HTTP/1.1\r\nHost: x\r\nX-Api-Key: dummy\r\nContent-Length: 2\r\n\r\n{}"
    async with served(way_out, tmp_path, MODEL, "api.example") as (agent, heads, port):
        assert (await agent.ask(ask))[1] == TOKENS
        _, body = await agent.ask(b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(body) == {"routes": {"anthropic": "anthropic"}, "held": "", "refused": [], "next": 0}
        assert list(way_out.report().metered.values()) == [Metered(1, 5, 7, 0)]
        assert way_out.server.report().routes == {"anthropic": ""}
        await push(way_out, port, held="the budget of alice is used up")
        head, body = await agent.ask(ask)
        assert head.startswith(b"HTTP/1.1 403 the budget of alice is used up")
        assert json.loads(body)["error"]["message"] == "hive's way out: the budget of alice is used up"
    system_trust.cache_clear()
    assert b"\r\nx-api-key: sk-real\r\n" in heads[0]
    assert b"dummy" not in heads[0]
    route = way_out.records()[0]
    assert (route.kind, route.host, route.verdict) == ("route", "api.example", Verdict.ALLOWED)
    assert not any("sk-real" in line for line in way_out.lines)


async def test_a_route_that_ends_ends_its_requests(
    way_out: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file()))
    system_trust.cache_clear()
    ask = b"POST /anthropic/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    async with served(way_out, tmp_path, begun, "api.example") as (agent, _, _):
        await agent.send(ask)
        await agent.head()
        await way_out.server.set_policy(Policy({ALICE: AgentPolicy()}))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await agent.reader.readexactly(100)
    system_trust.cache_clear()
    assert [record.end for record in way_out.records()] == ["policy"]
