"""The attention list of a daemon: what is in the store and the tags has its row, and goes when it is dealt with."""

from __future__ import annotations

from typing import Any

import pytest

from api.operations.attention import attention as attention_list
from api.operations.base import Call, Nothing
from api.operations.views import overview
from api.sockets.principals import Operator
from api.ui.moment import Kept, Moment
from meta.model import TagState
from meta.names import HIVE, AgentName
from reconciler.daemon.daemon import Daemon
from reconciler.queries import attention
from reconciler.store.messages.attempts import RETURNS

ALICE = AgentName("alice")


async def rows(daemon: Daemon) -> dict[str, Any]:
    return {row.key: row for row in (await daemon.service.status.attention()).rows}


async def test_questions_messages_and_dead_letters_have_rows_until_they_are_dealt_with(daemon: Daemon) -> None:
    service = daemon.service
    before = set(await rows(daemon))
    asked = await service.questions.ask("alice", "which branch?", (), False, None, None)
    sent = await service.broker.send("alice", "operator", "hello")
    letter = await service.broker.send("operator", "alice", "you crash of this")
    await service.broker.expect_acks("alice")
    for _ in range(RETURNS * 4):
        if await service.broker.recv("alice", wait=0.0) is not None:
            await service.broker.requeue_inflight("alice")
    await service.questions.ask("operator", "are you well?", (), False, None, "alice")
    new = {key: row for key, row in (await rows(daemon)).items() if key not in before}
    assert set(new) == {f"question:{asked}", "messages:operator", f"dead-letter:{letter}"}
    assert new[f"question:{asked}"].detail == "which branch?"
    assert "hello" not in str(new)
    assert (await service.status()).attention["normal"] == 2
    await service.questions.answer(asked, "operator", "main")
    await service.broker.mark_read(sent + 10)
    await service.broker.discard(letter)
    left = await rows(daemon)  # of the question to alice there may be a letter, not of what is dealt with
    assert not {f"question:{asked}", f"dead-letter:{letter}"} & set(left)


async def test_status_metrics_and_the_list_count_the_same_rows(daemon: Daemon) -> None:
    await daemon.service.questions.ask("alice", "which branch?", (), False, None, None)
    seen = await daemon.service.status.see()
    snapshot = await daemon.service.metrics.snapshot()
    assert snapshot.attention["question", "normal"] == 1
    assert sum(snapshot.attention.values()) == sum(seen.status.attention.values()) == len(seen.rows)


async def test_the_status_and_the_list_that_a_moment_of_pages_asks_for_are_of_one_look(daemon: Daemon) -> None:
    def moment() -> Moment:
        return Moment(Call(daemon.service, Operator(0)), 0, 0.0, Kept())

    first = moment()
    status = await first.ask(overview, Nothing())
    await daemon.service.questions.ask("alice", "which branch?", (), False, None, None)
    listed = await first.ask(attention_list, Nothing())
    assert sum(listed.counts.values()) == sum(status.attention.values())
    assert sum((await moment().ask(attention_list, Nothing())).counts.values()) == sum(listed.counts.values()) + 1


async def test_what_is_beyond_the_limit_of_a_reading_is_counted_as_left_out(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "READ_MOST", 1)
    for number in range(3):
        await daemon.service.questions.ask("alice", f"question {number}", (), False, None, None)
    answer = await daemon.service.status.attention()
    assert [row.detail for row in answer.rows if row.kind == "question"] == ["question 2"]
    assert answer.left_out == 2


@pytest.mark.parametrize("by", [HIVE, "operator"])
async def test_a_deploy_that_failed_by_itself_has_a_row_until_the_agent_has_a_newer_id(daemon: Daemon, by: str) -> None:
    service = daemon.service
    id = (await service.settings.propose(ALICE, "test", 'label = "new"\n')).id
    assert await service.loop.settled(ALICE, 30)
    applied = daemon.world.applied(ALICE)
    await applied.transition(id, TagState.APPROVED, by="operator", at=5)
    await applied.transition(id, TagState.FAILED, by=by, reason="no such package", at=6)
    found = {key: row for key, row in (await rows(daemon)).items() if row.kind == "deploy-failed"}
    if by != HIVE:  # a person cancelled it
        assert not found
        return
    (row,) = found.values()
    assert (row.key, row.command, row.since) == (f"deploy-failed:alice:{id}", f"hive diff {id}", 6.0)
    assert row.detail == f"no such package; `hive retry {id}` tries it again"
    await service.proposals.retry(id, "operator")
    assert "deploy-failed" not in {row.kind for row in (await rows(daemon)).values()}
