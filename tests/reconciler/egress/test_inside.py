"""What an agent is answered about its own way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import pytest

from meta.network.operator_file import parse_operator_file
from meta.network.policy import AgentPolicy
from meta.network.verdict import Verdict
from reconciler.egress.inside import answer_inside
from reconciler.egress.limits import REFUSED_SHOWN
from reconciler.egress.ports import Denied
from tests.support.egress_http import Agent, FakeGate, agents, policy, route

FILE = '[credentials.zwork]\nkind = "anthropic"\nfile = "/a"\n[credentials.aprivate]\nkind = "anthropic"\nfile = "/b"\n'


async def test_the_keys_are_in_the_order_of_the_operators_file() -> None:
    gate = FakeGate(AgentPolicy(), routes_by_name=dict(parse_operator_file(FILE.encode()).routes))
    request = h11.Request(method="GET", target="/.hive/way-out", headers=[("host", "x")])
    body = b"".join(event.data for event in answer_inside(gate, request) if isinstance(event, h11.Data))
    assert list(json.loads(body)["routes"]) == ["zwork", "aprivate"]


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[tuple[FakeGate, Agent]]:
    """Yield the gate of an agent that may use a key, and its connection."""
    gate = FakeGate(policy(), {}, {"anthropic": route(folder)})
    async with agents(gate, folder) as connect, asyncio.timeout(20):
        yield gate, await connect()


async def test_the_way_out_says_its_routes_and_what_was_refused_since_a_number(tmp_path: Path) -> None:
    async with asked(tmp_path) as (gate, agent):
        gate.refuse("tunnel", "crates.io", 443, Denied(Verdict.NOT_LISTED, "no"))
        _, body = await agent.ask(b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n")
        expected = {"routes": {"anthropic": "anthropic"}, "held": "", "next": 1}
        assert json.loads(body) == {**expected, "refused": [{"host": "crates.io", "port": 443, "count": 1}]}
        _, body = await agent.ask(b"GET /.hive/way-out?after=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(body) == {**expected, "refused": []}
        gate.routes_by_name["hub"] = route(tmp_path, kind="git", upstream="https://git.corp:8443")
        _, body = await agent.ask(b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(body)["upstreams"] == {"hub": "https://git.corp:8443"}


async def test_of_many_refused_hosts_those_asked_for_most_are_said_and_the_others_counted(tmp_path: Path) -> None:
    async with asked(tmp_path) as (gate, agent):
        for number in [*range(200), 150]:
            gate.refuse("tunnel", f"h{number}.example", 443, Denied(Verdict.NOT_LISTED, "no"))
        _, body = await agent.ask(b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = json.loads(body)
    assert answer["refused"][0] == {"host": "h150.example", "port": 443, "count": 2}
    assert (len(answer["refused"]), answer["more"]) == (REFUSED_SHOWN, 200 - REFUSED_SHOWN)


@pytest.mark.parametrize("target", ["/.hive/", "/.hive/way-out/x", "/.hive/way-out?after=-1", "/.hive/way-out?after=a"])
async def test_nothing_else_is_served_beside_the_way_out(target: str, tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, agent):
        head, _ = await agent.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.1 404")
