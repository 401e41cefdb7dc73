"""What one agent's HTTP costs the others: nothing that they notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meta.network.policy import AgentPolicy, Policy
from reconciler.egress.client import HEAD_LINES
from reconciler.egress.share import EVENTS_AT_ONCE, Share
from tests.reconciler.egress.lab import ALICE, BOB, Lab
from tests.support.egress_http import END, Agent, FakeGate, Visit, agents, policy, upstream

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
ASK = b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\n" + CHUNKED
GET = b"GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n"
TINY = b"1\r\na\r\n" * 10_000


@contextlib.asynccontextmanager
async def longest_step() -> AsyncIterator[list[float]]:
    """Measure the longest time in which the loop did nothing else: of this thread, so that a busy machine is none."""
    steps = [0.0]

    async def tick() -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0)
            steps[0] = max(steps[0], time.thread_time() - begun)

    task = asyncio.ensure_future(tick())
    try:
        yield steps
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def pour(agent: Agent, head: bytes, data: bytes = TINY) -> None:
    """Send as much as is taken, until the connection ends."""
    with contextlib.suppress(OSError):
        await agent.send(head)
        while True:
            await agent.send(data)


FLOODS = {
    "a body in pieces of one byte": (POST, TINY),
    "requests one behind the other": (b"", ASK * 1000),
    "heads of many headers": (b"", ASK[:-2] + b"a:b\r\n" * 12_000 + b"\r\n"),
    "headers behind a body": (POST + b"0\r\n", b"a:b\r\n" * 12_000),
}


@pytest.mark.parametrize(("head", "data"), FLOODS.values(), ids=FLOODS.keys())
async def test_what_an_agent_pours_in_stops_the_others_only_for_a_moment(
    head: bytes, data: bytes, tmp_path: Path
) -> None:
    async def serve(visit: Visit) -> None:
        while await visit.reader.read(2**16):
            pass

    async with upstream(serve) as port:
        gate = FakeGate(policy("web.example"), {("web.example", 80): port})
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20), longest_step() as steps:
            floods = [asyncio.ensure_future(pour(await connect(), head, data)) for _ in range(4)]
            await asyncio.wait(floods, timeout=0.15)
            for flood in floods:
                flood.cancel()
            await asyncio.gather(*floods, return_exceptions=True)
    assert steps[0] < 0.05


ANSWERS = {
    "a body in pieces of one byte": b"HTTP/1.1 200 OK\r\n" + CHUNKED + TINY,
    "a head of many headers": b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 12_000 + b"\r\n",
    "headers behind a body": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"1\r\na\r\n0\r\n" + b"a:b\r\n" * 12_000 + b"\r\n",
    "answers before the answer": b"HTTP/1.1 103 Hints\r\n\r\n" * 5_000,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_what_a_server_pours_back_stops_the_others_only_for_a_moment(answer: bytes, tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(answer)

    async with upstream(serve) as port:
        gate = FakeGate(policy("web.example"), {("web.example", 80): port})
        async with agents(gate, tmp_path) as connect, longest_step() as steps:
            asking = [await connect() for _ in range(4)]
            await asyncio.gather(*(agent.send(GET) for agent in asking))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.15):
                    await asyncio.gather(*(agent.reader.read() for agent in asking))
    assert steps[0] < 0.05


async def test_an_agent_without_a_rule_delays_no_other_agent(way_out: Lab) -> None:
    for name in (ALICE, BOB):
        way_out.folder(name)
    await way_out.server.set_policy(Policy({ALICE: AgentPolicy(), BOB: AgentPolicy()}))
    floods = [asyncio.ensure_future(pour(Agent(*await way_out.ask(b"", ALICE)), ASK[:-2] + CHUNKED)) for _ in range(8)]
    try:
        async with asyncio.timeout(10), longest_step() as steps:
            for _ in range(5):
                bob = Agent(*await way_out.ask(ASK, BOB))
                assert (await bob.head()).startswith(b"HTTP/1.1 200")
                bob.writer.transport.abort()
    finally:
        for flood in floods:
            flood.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
    assert steps[0] < 0.05


async def test_what_is_asked_of_the_way_out_has_no_body(tmp_path: Path) -> None:
    async with agents(FakeGate(policy()), tmp_path) as connect, asyncio.timeout(20):
        agent = await connect()
        assert (await agent.ask(ASK.replace(END, b"\r\nContent-Length: 0" + END)))[0].startswith(b"HTTP/1.1 200")
        assert (await agent.ask(ASK[:-2] + CHUNKED + b"1\r\na\r\n"))[0].startswith(b"HTTP/1.1 400 bad-request (a-body)")


async def test_a_head_has_a_bound_of_headers(tmp_path: Path) -> None:
    async with agents(FakeGate(policy()), tmp_path) as connect, asyncio.timeout(20):
        agent = await connect()
        fine = ASK[:-2] + b"a:b\r\n" * (HEAD_LINES - 2) + b"\r\n"
        assert (await agent.ask(fine))[0].startswith(b"HTTP/1.1 200")
        head, _ = await agent.ask(fine[:-2] + b"a:b\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 bad-request (more-than-128-headers)")


async def test_a_share_is_waited_for_only_once_it_is_used_up() -> None:
    share = Share(lambda: 0.0)
    share.spend(int(EVENTS_AT_ONCE))
    await share.turn()
    share.spend(1)
    waiting = asyncio.ensure_future(share.turn())
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.wait_for(waiting, 5)
