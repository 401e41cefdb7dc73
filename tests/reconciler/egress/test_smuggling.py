"""Requests that the way out and a server could read in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.network.verdict import Verdict
from tests.support.egress_http import Agent, Upstream, converse

GET = b"GET http://web.example/page?q=1 HTTP/1.1\r\nHost: web.example\r\n\r\n"


TRICKS = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a length with a sign": b"Content-Length: +5\r\n",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "an unknown encoding": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "an encoding behind a tab": b"Transfer-Encoding:\tchunked, identity\r\n",
    "a second host": b"Host: other.example\r\n",
    "the same host twice": b"Host: web.example\r\n",
    "a folded header": b"X-A: 1\r\n Transfer-Encoding: chunked\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a bare LF": b"X-A: 1\nTransfer-Encoding: chunked\r\n",
    "a bare CR": b"X-A: 1\rTransfer-Encoding: chunked\r\n",
    "a NUL": b"X-A: \0\r\n",
    "no name": b": chunked\r\n",
}


@pytest.mark.parametrize("header", TRICKS.values(), ids=TRICKS.keys())
async def test_a_head_that_could_be_read_in_two_ways_is_refused(header: bytes, tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        head, _ = await agent.ask(
            b"POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\n" + header + b"\r\n0\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 400 bad-request")
        assert await agent.is_ended()

    gate = await converse(tmp_path, there, talk)
    assert not there.heads
    assert [verdict for *_, verdict in gate.refused] == [Verdict.BAD_REQUEST]


HOSTS = {
    "another host": (b"http://web.example/", b"other.example", b"403"),
    "another port": (b"http://web.example/", b"web.example:8080", b"403"),
    "a host that is not on the list": (b"http://other.example/", b"web.example", b"403"),
    "a user": (b"http://web.example@other.example/", b"other.example", b"400"),
    "a user in the host": (b"http://web.example/", b"web.example@other.example", b"400"),
    "a port twice": (b"http://web.example:80:80/", b"web.example", b"400"),
    "a port that is none": (b"http://web.example:0/", b"web.example", b"400"),
    "a port too high": (b"http://web.example:65616/", b"web.example", b"400"),
    "a list of hosts": (b"http://web.example/", b"web.example,other.example", b"400"),
    "an odd address": (b"http://0x7f.1/", b"0x7f.1", b"400"),
    "a path in the host": (b"http://web.example/", b"web.example/x", b"400"),
    "a backslash": (b"http://web.example\\@other.example/", b"web.example", b"400"),
    "a fragment": (b"http://web.example/#@other.example/", b"web.example", b"400"),
    "no host": (b"http:///path", b"web.example", b"400"),
    "https": (b"https://web.example/", b"web.example", b"400"),
    "another scheme": (b"ftp://web.example/", b"web.example", b"400"),
    "a bare host": (b"web.example:80", b"web.example", b"400"),
    "a host of another encoding": (b"http://web%2eexample/", b"web.example", b"400"),
}


@pytest.mark.parametrize(("target", "host", "status"), HOSTS.values(), ids=HOSTS.keys())
async def test_a_target_and_its_host_must_be_clean_and_the_same(
    target: bytes, host: bytes, status: bytes, tmp_path: Path
) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        head, _ = await agent.ask(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)

    gate = await converse(tmp_path, there, talk)
    assert not there.heads
    assert len(gate.refused) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT web.example:80 HTTP/1.1",
        b"CONNECT http://web.example/ HTTP/1.1",
        b"GET http://web.example/ HTTP/2.0",
        b"GET http://web.example/ HTTP/0.9",
        b"GET http://web.example/",
        b"GET  http://web.example/ HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01 HTTP/1.1",
    ],
)
async def test_a_request_line_of_another_form_is_refused_behind_a_clean_request(line: bytes, tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        await agent.send(GET + line + b"\r\nHost: web.example\r\n\r\n")
        assert (await agent.answer())[1] == b"ok"
        assert (await agent.head()).startswith(b"HTTP/1.1 400")

    await converse(tmp_path, there, talk)
    assert len(there.heads) == 1


async def test_a_smuggled_request_is_decided_like_any_other(tmp_path: Path) -> None:
    there = Upstream()
    inner = b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n"

    async def talk(agent: Agent) -> None:
        await agent.send(
            b"POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + inner
        )
        assert (await agent.answer())[1] == b"ok"
        assert (await agent.head()).startswith(b"HTTP/1.1 403 other.example:80")

    await converse(tmp_path, there, talk)
    assert there.bodies == [b""]


async def test_a_head_without_an_end_is_refused_once_it_is_too_long(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> None:
        await agent.send(b"GET http://web.example/ HTTP/1.1\r\nX: " + b"a" * 200_000)
        assert (await agent.head()).startswith(b"HTTP/1.1 400 bad-request (a-head-that-is-too-long)")

    await converse(tmp_path, Upstream(), talk)
