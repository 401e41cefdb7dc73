"""Hosts that were allowed for a time are listed from the branch `run`, and one that no commit allowed is a fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from meta.desired import trailers
from meta.desired.changes import RunNote
from meta.desired.repo import MetaRepo
from meta.model import NetworkGrant, RunEntry
from reconciler.store.events.log import EventRow
from reconciler.upkeep.audit.grants import Answer, Grant, answers_of
from reconciler.upkeep.audit.verify import verify
from tests.support.hive_state import ALICE, make

if TYPE_CHECKING:
    from pathlib import Path

CRATES = NetworkGrant("crates.io", 200, "ann", 100, 3)


def words(grant: NetworkGrant) -> RunNote:
    values = {trailers.RULE: grant.rule, trailers.UNTIL: str(grant.until), trailers.REQUEST: "3"}
    return RunNote(trailers.NETWORK_ALLOW, values)


@pytest.mark.parametrize("values", [{trailers.RULE: "crates.io"}, {}], ids=["that rule", "all, for a destroy"])
async def test_grants_are_listed_with_who_gave_them_and_what_ended_them(tmp_path: Path, values: dict[str, str]) -> None:
    layout = await make(tmp_path)
    meta = MetaRepo(layout)
    await meta.set_run(ALICE, lambda run: replace(run, grants=(CRATES,)), by="ann", at=100, words=words(CRATES))
    assert [finding.rule for finding in (await verify(layout)).findings if finding.rule == "grant"] == []
    await meta.set_run(
        ALICE,
        lambda run: replace(run, grants=()),
        by="bob",
        at=150,
        words=RunNote(trailers.NETWORK_REVOKE, values),
    )
    report = await verify(layout)
    assert report.grants == (Grant("alice", "crates.io", 200, "ann", 100, 3, 150, "bob"),)


async def test_a_grant_that_no_commit_gave_is_a_fault(tmp_path: Path) -> None:
    layout = await make(tmp_path)

    def longer(run: RunEntry) -> RunEntry:
        return replace(run, grants=(replace(CRATES, until=10**9),))

    await MetaRepo(layout).set_run(ALICE, longer, by="ann", at=100, words=words(CRATES))
    (fault,) = [finding for finding in (await verify(layout)).findings if finding.rule == "grant"]
    assert (fault.level, fault.agent) == ("fault", ALICE)
    assert "crates.io is allowed until 1000000000" in fault.text


def test_requests_that_were_answered_without_a_grant_are_listed() -> None:
    events = [
        EventRow(4, 50, "network_denied", "alice", {"id": 1, "rule": "a.io:443", "by": "ann", "reason": "no"}),
        EventRow(5, 60, "network_covered", "alice", {"id": 2, "rule": "b.io:443"}),
        EventRow(6, 70, "network_denied", None, {}),  # a row that was changed: the chain reports it
    ]
    assert answers_of(events) == (
        Answer("alice", 1, "a.io:443", "denied", 50, "ann", "no"),
        Answer("alice", 2, "b.io:443", "covered", 60),
        Answer("", 0, "", "denied", 70),
    )
