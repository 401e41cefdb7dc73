"""Deploys in words: what a failure means, who is told, which failures stay open, the log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.ui.pages.deploys.rows import deploy_of, entries, open_failures, title_of
from api.ui.progress.facts import Facts
from meta.model import DeployKind
from meta.names import MANAGER, AgentName, ProposalId
from reconciler.views import AgentStatus, Card, Event, LogRow

ALICE, BOB = AgentName("alice"), AgentName("bob")
SHA = "1" * 40
FAILED = Card(
    ProposalId(7), ALICE, DeployKind.APPLY_COMMIT, SHA, SHA, 100, "failed", "failed", 200, "no\nlog", "why\nmore"
)


def happened(kind: str, at: float, **data: object) -> Event:
    return Event(f"u-{at}", at, kind, ALICE, data)


SWITCHED = (happened("deploy_started", 101, id=7), happened("agent_started", 120, deploy=7))


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((), "What ran before still runs."),
        (SWITCHED, "hive brings back what ran before."),
        ((*SWITCHED, happened("rollback_succeeded", 230, **{"from": 7})), "What ran before runs again."),
        ((*SWITCHED, happened("rollback_failed", 230, **{"from": 7, "reason": "x"})), "alice does not run:"),
    ],
)
def test_a_failure_says_what_runs_now(events: tuple[Event, ...], words: str) -> None:
    deploy = deploy_of(Facts(FAILED, events=events), [ALICE])
    assert words in deploy.lost and "failed/7" in deploy.lost
    assert ("Nothing was lost" in deploy.lost) == ("does not run" not in deploy.lost)


def test_a_spawn_that_failed_cannot_be_rolled_back() -> None:
    deploy = deploy_of(Facts(replace(FAILED, kind=DeployKind.SPAWN)), [])
    assert not deploy.back and "alice was not made" in deploy.lost


@pytest.mark.parametrize(("deployed", "back"), [(None, False), (0, False), (6, True)])
def test_a_failure_offers_to_roll_back_only_where_something_else_was_deployed(deployed: int | None, back: bool) -> None:
    id = None if deployed is None else ProposalId(deployed)
    agent = AgentStatus(ALICE, "agent", "running", 1.7e9, "idle", "running", "a" * 20, SHA, id, None, (), 0, 0, 0)
    assert deploy_of(Facts(FAILED, agent=agent), [ALICE]).back is back


@pytest.mark.parametrize(
    ("asked", "there", "told"),
    [("bob", [BOB, MANAGER], "bob"), ("gone", [BOB, MANAGER], "manager"), ("operator uid 1000", [BOB], "")],
)
def test_a_failure_is_told_to_who_asked_else_to_the_manager(asked: str, there: list[AgentName], told: str) -> None:
    assert deploy_of(Facts(replace(FAILED, proposed_by=asked)), there).tell == told


def test_a_failure_is_over_once_its_agent_was_deployed() -> None:
    later = replace(FAILED, id=ProposalId(8), state="deployed", status="approved")
    pending = replace(FAILED, id=ProposalId(9), state="proposal", status="pending")
    other = replace(FAILED, agent=BOB)
    assert open_failures([later, FAILED, other], 300.0) == [other]
    assert open_failures([pending, FAILED], 300.0) == [FAILED]
    assert open_failures([FAILED], 1e9) == []


def test_a_title_is_the_first_line_of_the_description_else_the_kind() -> None:
    assert title_of(FAILED) == "why"
    assert title_of(replace(FAILED, description=None)) == "commit 1111111"
    assert title_of(replace(FAILED, description="", kind=DeployKind.SPAWN)) == "its first files"


def test_a_line_of_the_log_has_the_words_of_its_card_and_its_page() -> None:
    row = LogRow("3" * 40, 5, "deploy", "alice", ProposalId(7), "1" * 40, "a" * 20, "operator", "deploy 7")
    by_hand = LogRow("4" * 40, 6, "edit", None, None, None, None, None, "I did it")
    first, second = entries([row, by_hand], [FAILED])
    assert (first.title, first.href, first.word) == ("why", "/deploys/alice/7", "deployed")
    assert (second.title, second.href, second.word) == ("I did it", "", "edited by hand")
