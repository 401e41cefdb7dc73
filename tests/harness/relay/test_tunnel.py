"""`hive-harness connect`: ssh through the way out."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import pytest

from harness.relay.egress import egress_relay
from tests.harness.fake_way_out import FakeWayOut, fake_way_out


@pytest.fixture
async def way() -> AsyncIterator[FakeWayOut]:
    async with asyncio.timeout(20), fake_way_out() as fake:
        yield fake


async def start(url: str, host: str, port: str) -> Process:
    words = ("-P", "-m", "harness.cli", "connect", url.removeprefix("http://"), host, port)
    return await asyncio.create_subprocess_exec(sys.executable, *words, stdin=PIPE, stdout=PIPE, stderr=PIPE)


async def test_bytes_pass_both_ways_and_the_other_side_may_speak_first(way: FakeWayOut) -> None:
    async def sshd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        writer.write(b"%d bytes" % len(await reader.read()))
        writer.close()

    async with await asyncio.start_server(sshd, "127.0.0.1", 0) as server, egress_relay(way.folder) as url:
        way.hosts["git.example.org:22"] = server.sockets[0].getsockname()[1]
        process = await start(url, "git.example.org", "22")
        assert await process.stdout.readexactly(11) == b"SSH-2.0-x\r\n"  # type: ignore[union-attr]
        out, err = await process.communicate(b"x" * 300_000)
    assert (out, err, process.returncode) == (b"300000 bytes", b"", 0)


async def test_a_refusal_is_one_line_with_its_reason(way: FakeWayOut) -> None:
    async with egress_relay(way.folder) as url:
        process = await start(url, "evil.example", "22")
        out, err = await process.communicate()
    assert (out, process.returncode) == (b"", 1)
    why = "403 evil.example:22-is-not-on-the-list-of-alice (ask with request_network)"
    assert err.decode() == f"hive: no way to evil.example:22: {why}\n"


@pytest.mark.parametrize("host", ["a\r\nX: y", "a b", "ä.example"])
async def test_a_host_that_is_none_is_not_asked_for(way: FakeWayOut, host: str) -> None:
    async with egress_relay(way.folder) as url:
        process = await start(url, host, "22")
        _, err = await process.communicate()
    assert (way.asked, process.returncode) == ([], 1)
    assert b"it is no host and port" in err
