"""The agent that fills the disk is named, and nobody is if the agents' files do not explain it."""

from __future__ import annotations

from meta.names import AgentName
from reconciler.common.reserve import Room
from reconciler.upkeep.disk.largest import explain, largest
from reconciler.upkeep.disk.measure import Measured

ALICE, BOB = AgentName("alice"), AgentName("bob")
GIB = 2**30
FULL = Room(0, 100 * GIB, inodes=500_000, all_inodes=1_000_000)
NO_INODES = Room(50 * GIB, 100 * GIB, inodes=0, all_inodes=1_000_000)


def test_the_agent_with_the_most_bytes_is_named_with_the_remedy() -> None:
    text = explain({ALICE: Measured(60 * GIB), BOB: Measured(GIB)}, FULL)
    assert "alice holds the most (60.0 GiB): `hive stop alice --now`" in text


def test_nobody_is_named_if_the_agents_have_little_of_what_is_used() -> None:
    held = {ALICE: Measured(GIB), BOB: Measured(2 * GIB)}
    assert largest(held, FULL) is None
    text = explain(held, FULL)
    assert "what fills it is not among the agents' files" in text
    assert "bob" not in text


def test_the_agent_with_the_most_inodes_is_named_if_inodes_are_scarce() -> None:
    held = {ALICE: Measured(GIB, inodes=900_000), BOB: Measured(20 * GIB, inodes=50)}
    assert "alice holds the most (900000 inodes)" in explain(held, NO_INODES)


def test_an_agent_that_cannot_be_counted_is_named_as_such() -> None:
    text = explain({ALICE: Measured(0, complete=False), BOB: Measured(GIB)}, FULL)
    assert "the files of alice cannot all be counted" in text
    assert "bob" not in text
