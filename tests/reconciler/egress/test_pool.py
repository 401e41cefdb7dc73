"""Connections to upstreams: which are kept, for how long, and which are not used again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from reconciler.egress.pool import KEPT, Unreachable, Upstream, Upstreams, parse_upstream
from tests.support.egress_http import Visit, upstream
from tests.support.own_ca import client_context, server_context


class Dial:
    """Connects every host to one port of loopback, and counts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.count = 0

    async def __call__(self, host: str, port: int) -> socket.socket:
        self.count += 1
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        return connection


class Pool(Upstreams):
    """Ends at its end what was taken from it."""

    def __init__(self, dial: Dial, idle_seconds: float = 60.0) -> None:
        super().__init__(dial, idle_seconds=idle_seconds)
        self.dial = dial
        self.taken: list[Upstream] = []

    @override
    async def take(self, address: str, *, fresh: bool = False) -> Upstream:
        self.taken.append(await super().take(address, fresh=fresh))
        return self.taken[-1]

    @override
    def close(self) -> None:
        super().close()
        for each in self.taken:
            each.abort()


@contextlib.asynccontextmanager
async def waiting(idle_seconds: float = 60.0) -> AsyncIterator[tuple[Pool, list[Visit]]]:
    """An upstream without TLS that keeps its connections until the end."""
    visits: list[Visit] = []
    end = asyncio.Event()

    async def serve(visit: Visit) -> None:
        visits.append(visit)
        await end.wait()

    async with upstream(serve) as port, asyncio.timeout(20):
        with contextlib.closing(Pool(Dial(port), idle_seconds)) as pool:
            yield pool, visits


async def test_a_connection_that_was_given_back_is_taken_again() -> None:
    async with waiting() as (pool, _):
        first = await pool.take("http://a.example")
        assert not first.kept
        pool.give(first)
        assert await pool.take("http://a.example") is first
        assert first.kept
        assert await pool.take("http://a.example") is not first


async def test_another_upstream_never_gets_it_and_a_fresh_one_can_be_asked_for() -> None:
    async with waiting() as (pool, _):
        first = await pool.take("http://a.example")
        pool.give(first)
        assert await pool.take("http://b.example") is not first
        assert await pool.take("http://a.example", fresh=True) is not first
        pool.close()
        assert first.writer.is_closing()


async def test_one_that_ended_or_spoke_unasked_is_not_taken_again() -> None:
    async with waiting() as (pool, visits):
        for stale in (b"", b"HTTP/1.1 408 X\r\n\r\n"):
            first = await pool.take("http://a.example")
            while len(visits) < pool.dial.count:
                await asyncio.sleep(0)
            pool.give(first)
            if stale:
                visits[-1].writer.write(stale)
            else:
                visits[-1].writer.close()
            while first.is_usable:
                await asyncio.sleep(0)
            assert await pool.take("http://a.example") is not first
        assert pool.dial.count == 4


async def test_at_most_a_few_are_kept_and_those_for_a_minute_at_most() -> None:
    async with waiting(idle_seconds=0.01) as (pool, _):
        connections = [await pool.take("http://a.example") for _ in range(KEPT + 2)]
        for connection in connections:
            pool.give(connection)
        assert [connection.writer.is_closing() for connection in connections].count(True) == 2
        while not all(connection.writer.is_closing() for connection in connections):
            await asyncio.sleep(0)
        assert not pool._idle


async def test_a_server_without_tls_or_without_trust_is_unreachable_and_says_why() -> None:
    async def speak(visit: Visit) -> None:
        await visit.send(b"220 welcome\r\n")
        await visit.is_ended()

    async with upstream(speak) as port:
        with pytest.raises(Unreachable, match=r"a.example:443-does-not-answer \(no TLS\)"):
            await Upstreams(Dial(port), client_context).take("https://a.example")
    async with upstream(speak, server_context("a.example")) as port:
        with pytest.raises(Unreachable, match="its certificate is not trusted: "):
            await Upstreams(Dial(port)).take("https://a.example")
        (await Upstreams(Dial(port), client_context).take("https://A.example:443")).abort()


def test_an_upstream_is_read_with_the_port_of_its_scheme() -> None:
    assert parse_upstream("https://API.example") == (True, "api.example", 443)
    assert parse_upstream("http://127.0.0.1:8080") == (False, "127.0.0.1", 8080)
    assert parse_upstream("https://[2001:db8::1]:8443") == (True, "2001:db8::1", 8443)
