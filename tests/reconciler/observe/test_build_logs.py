"""The last lines of a build are at hand, scrubbed and bounded."""

from __future__ import annotations

from meta.names import AgentName, ProposalId
from reconciler.observe.build_logs import BUILDS, LINES, BuildLogs

ALICE = AgentName("alice")


def test_the_last_lines_of_a_build_are_kept_without_what_would_move_the_cursor() -> None:
    logs = BuildLogs()
    for number in range(LINES + 1):
        logs.note(ALICE, ProposalId(7), f"line {number}")
    logs.note(ALICE, ProposalId(7), "\x1b[2Jred\x1b[0m")
    assert logs.tail(ALICE, ProposalId(7))[0] == "line 2"
    assert logs.tail(ALICE, ProposalId(7))[-1] == "red"
    assert len(logs.tail(ALICE, ProposalId(7))) == LINES
    assert logs.tail(ALICE, ProposalId(8)) == ()


def test_of_many_builds_the_oldest_are_forgotten() -> None:
    logs = BuildLogs()
    for id in range(BUILDS + 1):
        logs.note(ALICE, ProposalId(id), "x")
    assert logs.tail(ALICE, ProposalId(0)) == ()
    assert logs.tail(ALICE, ProposalId(BUILDS)) == ("x",)
