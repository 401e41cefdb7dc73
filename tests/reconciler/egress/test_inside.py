"""What an agent is answered about its own way out."""

from __future__ import annotations

import json

import h11

from meta.network.operator_file import parse_operator_file
from meta.network.policy import AgentPolicy
from reconciler.egress.inside import answer_inside
from tests.support.egress_http import FakeGate

FILE = '[credentials.zwork]\nkind = "anthropic"\nfile = "/a"\n[credentials.aprivate]\nkind = "anthropic"\nfile = "/b"\n'


async def test_the_keys_are_in_the_order_of_the_operators_file() -> None:
    gate = FakeGate(AgentPolicy(), routes_by_name=dict(parse_operator_file(FILE.encode()).routes))
    request = h11.Request(method="GET", target="/.hive/way-out", headers=[("host", "x")])
    body = b"".join(event.data for event in answer_inside(gate, request) if isinstance(event, h11.Data))
    assert list(json.loads(body)["routes"]) == ["zwork", "aprivate"]
