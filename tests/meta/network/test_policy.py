"""The policy as a line: what is written is read again, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta.errors import BadInput
from meta.names import AgentName
from meta.network.policy import POLICY_LIMIT, AgentPolicy, Grant, Policy, decode_policy, encode_policy, policy_of
from meta.network.rule import Rule, parse_rule

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RULES = st.builds(
    Rule,
    st.sampled_from(["a.example", "*.b.example", "*", "192.0.2.7", "2001:db8::1"]),
    st.sampled_from([(80, 443), (443,), ()]),
)
TIMES = st.floats(0, 2.0**40)
AGENTS = st.builds(
    AgentPolicy,
    st.lists(RULES, max_size=4).map(tuple),
    st.lists(st.builds(Grant, RULES, TIMES), max_size=3).map(tuple),
    st.frozensets(st.sampled_from(["anthropic", "git"])),
    st.text(max_size=20),
    st.integers(1, 1000),
    st.none() | st.integers(1, 10**12),
    st.text(max_size=20),
)
POLICIES = st.builds(
    Policy,
    st.dictionaries(st.sampled_from([AgentName("alice"), AgentName("bob")]), AGENTS),
    st.frozensets(st.sampled_from([AgentName("carol"), AgentName("dave")])),
)


@QUICK
@given(POLICIES)
def test_a_policy_is_the_same_after_the_line(policy: Policy) -> None:
    line = encode_policy(policy)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode_policy(line) == policy
    assert decode_policy(line).revision == policy.revision


def test_the_order_of_agents_and_a_time_without_a_fraction_do_not_change_the_revision() -> None:
    alice, bob = AgentName("alice"), AgentName("bob")
    whole = AgentPolicy(grants=(Grant(parse_rule("a.example"), 5),))
    one, other = Policy({alice: whole, bob: AgentPolicy()}), Policy({bob: AgentPolicy(), alice: whole})
    assert one.revision == other.revision == decode_policy(encode_policy(one)).revision


def good() -> dict[str, Any]:
    agent = {"rules": ["a.example"], "grants": [{"rule": "b.example", "until": 5.0}], "routes": ["git"], "held": ""}
    alice = {**agent, "connections": 2, "bytes_per_second": None, "identity": "100000-1a2b"}
    return {"agents": {"alice": alice}, "keep": ["bob"]}


def test_the_document_that_the_next_rows_break_is_good() -> None:
    assert policy_of(good()).agents[AgentName("alice")].connections == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rules", None),
        ("rules", "a.example"),
        ("rules", [1]),
        ("rules", ["A.example"]),
        ("rules", ["0x7f.1"]),
        ("rules", ["a.example"] * 513),
        ("grants", [{"rule": "a.example"}]),
        ("grants", [{"rule": "a.example", "until": "5"}]),
        ("grants", [{"rule": "a.example", "until": True}]),
        ("grants", [{"rule": "a.example", "until": -1}]),
        ("grants", [{"rule": "a.example", "until": 10**400}]),
        ("grants", [{"rule": "a.example", "until": float("inf")}]),
        ("grants", [{"rule": "a.example", "until": float("nan")}]),
        ("grants", [{"rule": "a.example:443:", "until": 5}]),
        ("grants", [{"rule": "a.example", "until": 5, "by": "me"}]),
        ("grants", {"rule": "a.example", "until": 5}),
        ("grants", [{"rule": "a.example", "until": 5}] * 512),
        ("routes", [1]),
        ("routes", "git"),
        ("held", None),
        ("connections", 0),
        ("connections", True),
        ("connections", 2.0),
        ("bytes_per_second", 0),
        ("bytes_per_second", "fast"),
        ("identity", None),
        ("identity", "x" * 201),
        ("more", 1),
    ],
)
def test_a_document_that_is_wrong_in_one_place_is_refused(key: str, value: object) -> None:
    document = good()
    document["agents"]["alice"][key] = value
    with pytest.raises(BadInput):
        policy_of(document)
    with pytest.raises(BadInput):
        decode_policy(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"agents":{}}',
        b'{"agents":[],"keep":[]}',
        b'{"agents":{},"keep":[],"more":1}',
        b'{"agents":{},"keep":"alice"}',
        b'{"agents":{},"keep":[1]}',
        b'{"agents":{},"keep":["../x"]}',
        b'{"agents":{"../x":{}},"keep":[]}',
        b'{"agents":{"":{}},"keep":[]}',
        b'{"agents":{"alice":null},"keep":[]}',
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000,
        b"1" * 10_000,
        b" " * (POLICY_LIMIT + 1),
    ],
)
def test_what_is_no_policy_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode_policy(data)


KEYS = st.sampled_from(["agents", "keep", "alice", *good()["agents"]["alice"]])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@QUICK
@given(JSON)
def test_no_document_breaks_the_reader(document: object) -> None:
    with contextlib.suppress(BadInput):
        policy_of(document)


def test_an_agent_is_not_both_described_and_kept() -> None:
    with pytest.raises(BadInput, match="alice is in agents and in keep"):
        policy_of({**good(), "keep": ["alice"]})


def test_a_kept_agent_has_the_row_of_before_and_one_without_a_row_has_none() -> None:
    alice, bob, carol = AgentName("alice"), AgentName("bob"), AgentName("carol")
    old = Policy({alice: AgentPolicy(held="old"), bob: AgentPolicy(held="old")})
    new = Policy({alice: AgentPolicy(held="new")}, frozenset({bob, carol}))
    assert new.after(old) == Policy({alice: AgentPolicy(held="new"), bob: AgentPolicy(held="old")})
    assert Policy(old.agents).after(new) == Policy(old.agents)


def test_a_grant_ends_by_itself_and_a_rule_does_not() -> None:
    policy = AgentPolicy(
        rules=(parse_rule("a.example"),),
        grants=(Grant(parse_rule("b.example"), 100.0), Grant(parse_rule("c.example"), 50.0)),
    )
    assert policy.allows("b.example", 443, 99.0) and not policy.allows("b.example", 443, 100.0)
    assert policy.allows("a.example", 443, 1e12) and not policy.allows("a.example", 22, 0.0)
    assert [policy.next_end(now) for now in (0.0, 50.0, 100.0)] == [50.0, 100.0, None]
