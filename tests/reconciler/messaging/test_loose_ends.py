"""Loose ends: who sees which, in which order, how old, and what can be cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meta.errors import NotFound, Refused
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.wire.common import ApprovalEnd, CancelLooseEndKind, InSeconds, QuestionEnd, ReminderEnd
from tests.support.asking import Asking, asking

ALICE = AgentName("alice")


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(tmp_path) as made:
        for asker, to in (("alice", "bob"), ("alice", None), ("bob", "manager"), ("manager", "bob")):
            await made.questions.ask(asker, f"{asker} to {to}?", (), False, None, to)
            made.now += 10
        for owner in ("alice", "bob", "bob"):
            await made.reminders.remind(owner, f"{owner}'s", InSeconds(seconds=600), None)
            made.now += 10
        await made.cards.project(ALICE, [proposal(7), proposal(8, TagState.DENIED), proposal(9)], "s")
        yield made


def proposal(id: int, state: TagState = TagState.PROPOSAL) -> Deploy:
    sha = Sha("a" * 40)
    return Deploy(
        ALICE, ProposalId(id), DeployKind.APPLY_COMMIT, state, sha, None, "aaaaaaa", "main", "more", 1_000, "manager"
    )


async def ids(hive: Asking, name: str, kind: type) -> list[int]:
    return [end.id for end in await hive.ends.of(name) if isinstance(end, kind)]


async def test_an_agent_sees_where_it_is_asker_target_or_owner_and_no_approvals(hive: Asking) -> None:
    assert await ids(hive, "alice", QuestionEnd) == [2, 1]
    assert await ids(hive, "bob", QuestionEnd) == [4, 3, 1]
    assert await ids(hive, "alice", ReminderEnd) == [1]
    assert await ids(hive, "bob", ReminderEnd) == [3, 2]
    for name in ("alice", "bob", "nobody"):
        assert await ids(hive, name, ApprovalEnd) == []
    assert await hive.ends.of("nobody") == ()


@pytest.mark.parametrize("name", ["manager", "operator", "operator"])
async def test_manager_and_operator_see_everything_newest_first_within_each_kind(hive: Asking, name: str) -> None:
    seen = [(end.kind, end.id) for end in await hive.ends.of(name)]
    approvals, questions = [("approval", 9), ("approval", 7)], [("question", id) for id in (4, 3, 2, 1)]
    assert seen == [*approvals, *questions, ("reminder", 3), ("reminder", 2), ("reminder", 1)]


async def test_every_row_says_what_it_is_about(hive: Asking) -> None:
    hive.now = 2_000.9
    ends = await hive.ends.of("manager")
    assert ends[0] == ApprovalEnd(id=9, agent="alice", commit_ref="aaaaaaa", description="more", age_seconds=1_000)
    assert ends[4] == QuestionEnd(id=2, asker="alice", question="alice to None?", age_seconds=990)
    assert ends[5] == QuestionEnd(id=1, asker="alice", target="bob", question="alice to bob?", age_seconds=1_000)
    assert ends[8] == ReminderEnd(id=1, owner="alice", message="alice's", due_at=1_640, age_seconds=960)


async def test_no_age_is_negative_when_the_clock_was_set_back(hive: Asking) -> None:
    hive.now = 5.0
    assert {end.age_seconds for end in await hive.ends.of("manager")} == {0}


async def test_what_was_answered_cancelled_or_delivered_is_no_loose_end(hive: Asking) -> None:
    await hive.questions.answer(1, "bob", "yes")
    await hive.ends.cancel(CancelLooseEndKind.QUESTION, 2, "alice")
    await hive.ends.cancel(CancelLooseEndKind.REMINDER, 1, "alice")
    assert await hive.ends.of("alice") == ()
    hive.now = 9_999
    await hive.reminders.fire_due()
    assert await ids(hive, "bob", ReminderEnd) == []


async def test_an_agent_cancels_only_its_own_and_the_manager_any(hive: Asking) -> None:
    for kind in CancelLooseEndKind:
        with pytest.raises(Refused):
            await hive.ends.cancel(kind, 3, "alice")
        await hive.ends.cancel(kind, 3, "manager")
        with pytest.raises(NotFound):
            await hive.ends.cancel(kind, 99, "manager")
    assert await ids(hive, "manager", ApprovalEnd) == [9, 7]
