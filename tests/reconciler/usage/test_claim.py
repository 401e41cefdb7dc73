"""What an agent claims about a turn is bounded before it is kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.names import AgentName
from meta.wire.live import Usage
from reconciler.store.usage import OTHER
from reconciler.usage.claim import (
    CALLS_MOST,
    COUNT_MOST,
    DOLLARS_MOST,
    ENDINGS,
    NAME_MOST,
    SECONDS_MOST,
    SHORT_MOST,
    TOKENS_MOST,
    TOOLS_MOST,
    read_usage,
    turn_of,
)

ALICE = AgentName("alice")
HUGE = st.integers() | st.sampled_from([10**400, -(10**400)])
"""Integers of which some are too large for a float."""
NUMBERS = HUGE | st.none()
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
CLAIMS = st.builds(
    Usage,
    runtime=st.text(),
    model=st.text(),
    source=st.text(),
    seconds=FLOATS,
    ending=st.text() | st.sampled_from(sorted(ENDINGS)),
    input_tokens=NUMBERS,
    output_tokens=NUMBERS,
    cached_tokens=NUMBERS,
    cost_dollars=FLOATS | st.none(),
    tools=st.dictionaries(st.text(), HUGE),
    unknown_lines=HUGE,
    unreadable_rows=HUGE,
)


def usage(**fields: Any) -> Usage:
    return Usage(**{"runtime": "claude", "seconds": 2.5, "ending": "ok", **fields})


def test_a_plain_claim_is_kept_as_it_is() -> None:
    claim = usage(model="haiku", source="bob", input_tokens=7, output_tokens=3, cost_dollars=0.25, tools={"Bash": 2})
    turn = turn_of(ALICE, "log1", 4, 1e9, claim)
    assert (turn.agent, turn.log, turn.id, turn.at, turn.runtime) == ("alice", "log1", 4, 1e9, "claude")
    assert (turn.model, turn.source, turn.seconds, turn.ending, turn.counts) == ("haiku", "bob", 2.5, "ok", True)
    assert (turn.input_tokens, turn.output_tokens, turn.cached_tokens, turn.cost) == (7, 3, None, 0.25)
    assert turn.tools == {"Bash": 2}


@given(CLAIMS, HUGE, FLOATS)
def test_no_claim_is_refused_and_each_is_within_the_bounds(claim: Usage, id: int, ts: float) -> None:
    turn = turn_of(ALICE, "log1", id, ts, claim)
    assert 0 <= turn.id <= 2**53
    assert 0 <= turn.at <= 1e11
    assert 0 <= turn.seconds <= SECONDS_MOST
    assert turn.cost is None or 0 <= turn.cost <= DOLLARS_MOST
    for tokens in (turn.input_tokens, turn.output_tokens, turn.cached_tokens):
        assert tokens is None or 0 <= tokens <= TOKENS_MOST
    assert len(turn.model) <= NAME_MOST
    assert len(turn.source) <= SHORT_MOST
    assert turn.ending in {*ENDINGS, OTHER}
    assert len(turn.tools) <= TOOLS_MOST + 1
    assert all(len(name) <= SHORT_MOST and 0 <= count <= CALLS_MOST for name, count in turn.tools.items())


def test_a_runtime_that_hive_does_not_know_is_another() -> None:
    assert turn_of(ALICE, "l", 1, 0, usage(runtime="\x1b[31mevil")).runtime == OTHER


def test_the_calls_of_the_tools_above_the_limit_are_summed_up() -> None:
    turn = turn_of(ALICE, "l", 1, 0, usage(tools={f"t{number}": 1 for number in range(TOOLS_MOST + 5)}))
    assert turn.tools[OTHER] == 5


@pytest.mark.parametrize(
    ("ending", "counts"), [("ok", True), ("crashed", True), ("parked", False), ("needs-login", False)]
)
def test_a_turn_that_waits_for_an_outage_or_a_login_does_not_count_for_the_budget(ending: str, counts: bool) -> None:
    assert turn_of(ALICE, "l", 1, 0, usage(ending=ending)).counts is counts


def test_a_malformed_usage_is_read_as_far_as_it_can_be() -> None:
    assert read_usage({"kind": "usage"}) == Usage(runtime="", seconds=0.0, ending="")
    claim = {
        "kind": "usage",
        "runtime": "claude",
        "seconds": "long",
        "ending": 7,
        "input_tokens": 5,
        "tools": {"a": "b"},
    }
    assert read_usage(claim) == Usage(runtime="claude", seconds=0.0, ending="", input_tokens=5)
    assert turn_of(ALICE, "log1", 4, 1e9, read_usage({"kind": "usage"})).counts


JSON = st.recursive(st.none() | st.booleans() | HUGE | st.floats() | st.text(), st.lists, max_leaves=3)


@given(st.dictionaries(st.sampled_from(sorted(Usage.model_fields)) | st.text(), JSON))
def test_every_object_can_be_read_as_a_usage(value: dict[str, Any]) -> None:
    turn_of(ALICE, "log1", 4, 1e9, read_usage(value))


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**18])
@pytest.mark.parametrize("name", sorted(set(Usage.model_fields) - {"kind"}))
def test_a_huge_integer_in_any_member_is_bounded(name: str, number: int) -> None:
    for value in (number, {"a": number}):
        turn = turn_of(ALICE, "log1", number, number, read_usage({"kind": "usage", name: value}))
        assert turn.unknown_lines <= COUNT_MOST
        assert turn.unreadable_rows <= COUNT_MOST
        assert all(count <= CALLS_MOST for count in turn.tools.values())
