"""Questions: who may ask, answer and cancel; what each is told; limits, expiry, damaged rows, restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meta.errors import BadInput, Conflict, HiveError, NotFound, Refused, TransientError
from meta.wire import limits
from meta.wire.common import InSeconds
from meta.wire.events import QuestionAnswered, QuestionAsked
from reconciler.common.token_bucket import EVENTS_AT_ONCE
from reconciler.messaging import questions
from reconciler.store.texts import ALARM
from tests.support.asking import Asking, asking


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(tmp_path) as made:
        yield made


async def ask(hive: Asking, asker: str = "alice", to: str | None = "bob", ttl: int | None = None) -> int:
    return await hive.questions.ask(asker, "tea or coffee?", ("tea", "coffee"), True, ttl, to)


async def test_a_peer_is_told_of_the_question_and_the_asker_of_the_answer(hive: Asking) -> None:
    id = await ask(hive)
    asked = QuestionAsked(id=id, asker="alice", question="tea or coffee?", options=("tea", "coffee"), multi=True)
    assert await hive.helper_events("bob") == [asked]
    await hive.questions.answer(id, "bob", "tea, coffee")
    answered = QuestionAnswered(id=id, question="tea or coffee?", answer="tea, coffee", answerer="bob")
    assert await hive.helper_events("alice") == [answered]
    assert hive.woken == ["bob", "alice"]
    assert await hive.questions.open() == []


@pytest.mark.parametrize("to", [None, "operator"])
async def test_a_question_to_the_operator_waits_to_be_seen_and_gets_free_text_as_well(
    hive: Asking, to: str | None
) -> None:
    id = await ask(hive, to=to)
    assert [(question.id, question.target) for question in await hive.questions.open()] == [(id, "operator")]
    assert await hive.inbox("operator") == []
    await hive.questions.answer(id, "operator", "neither: water")
    [event] = await hive.helper_events("alice")
    assert isinstance(event, QuestionAnswered)
    assert (event.answer, event.answerer) == ("neither: water", "operator")


async def test_the_operator_asks_an_agent_and_finds_the_answer_in_its_inbox(hive: Asking) -> None:
    id = await ask(hive, "operator", "alice")
    await hive.questions.answer(id, "alice", "tea")
    [event] = await hive.helper_events("operator")
    assert isinstance(event, QuestionAnswered)
    assert event.answerer == "alice"


async def test_only_the_target_or_the_operator_answers(hive: Asking) -> None:
    id = await ask(hive)
    for by in ("alice", "manager", "alice"):
        with pytest.raises(Refused, match="not asked of"):
            await hive.questions.answer(id, by, "me")
    await hive.questions.answer(id, "operator", "I do")
    with pytest.raises(NotFound):
        await hive.questions.answer(id + 1, "bob", "what?")


async def test_a_second_answer_is_a_conflict_and_changes_nothing(hive: Asking) -> None:
    id = await ask(hive)
    await hive.questions.answer(id, "bob", "tea")
    for attempt in (hive.questions.answer(id, "operator", "coffee"), hive.questions.cancel(id, "alice")):
        with pytest.raises(Conflict, match="already, by bob"):
            await attempt
    assert (await hive.questions.get(id)).answer == "tea"
    assert len(await hive.helper_events("alice")) == 1


async def test_the_record_has_the_person_and_the_asker_only_the_address(hive: Asking) -> None:
    ids = [await ask(hive) for _ in range(2)]
    await hive.questions.answer(ids[0], "operator", "tea", "operator uid 1000")
    await hive.questions.cancel(ids[1], "operator", "operator uid 1000")
    assert [(await hive.questions.get(id)).answerer for id in ids] == ["operator uid 1000"] * 2
    assert [event.answerer for event in await hive.helper_events("alice") if isinstance(event, QuestionAnswered)] == [
        "operator",
        "operator",
    ]


@pytest.mark.parametrize(("by", "who"), [("alice", "alice"), ("manager", "manager"), ("operator", "operator")])
async def test_asker_manager_and_operator_cancel_and_the_answer_says_who(hive: Asking, by: str, who: str) -> None:
    id = await ask(hive)
    with pytest.raises(Refused, match="was not asked by bob"):
        await hive.questions.cancel(id, "bob")
    await hive.questions.cancel(id, by)
    [event] = await hive.helper_events("alice")
    assert isinstance(event, QuestionAnswered)
    assert (event.answer, event.answerer) == (f"[cancelled by {who}]", who)


async def test_a_question_expires_once_at_its_time_and_not_before(hive: Asking) -> None:
    hive.now = 1_000.5
    id = await ask(hive, ttl=60)
    await ask(hive)
    hive.now = 1_060.4
    assert await hive.questions.do_due() == 1_061
    assert await hive.helper_events("alice") == []
    hive.now = 1_061.0
    assert await hive.questions.do_due() is None
    assert await hive.questions.expire_due() == 0
    [event] = await hive.helper_events("alice")
    assert isinstance(event, QuestionAnswered)
    assert (event.id, event.answer, event.answerer) == (id, "[expired]", "system")
    with pytest.raises(Conflict):
        await hive.questions.answer(id, "bob", "too late")
    assert len(await hive.questions.open()) == 1


async def test_the_longest_time_that_the_wire_can_say_is_for_ever(hive: Asking) -> None:
    id = await ask(hive, ttl=2**64 - 1)
    assert (await hive.questions.get(id)).expires_at == 2**63 - 1


async def test_questions_are_there_after_a_restart_and_many_expire_at_once(tmp_path: Path) -> None:
    async with asking(tmp_path) as hive:
        for number in range(90):
            await ask(hive, "alice" if number % 2 else "bob", None, ttl=number)
    async with asking(tmp_path) as hive:
        assert len(await hive.questions.open()) == 90
        hive.now = 5_000
        assert await hive.questions.expire_due() == 90
        assert len(await hive.helper_events("alice")) == 45


async def test_whom_nobody_knows_or_the_asker_may_not_write_to_is_not_asked(hive: Asking) -> None:
    hive.barred = {("alice", "bob")}
    cases: list[tuple[str, str | None, type[HiveError]]] = [
        ("alice", "carol", NotFound),
        ("alice", "", NotFound),
        ("alice", "system", NotFound),
        ("gone", "bob", NotFound),
        ("alice", "bob", Refused),
        ("alice", "*", BadInput),
        ("operator", None, BadInput),
    ]
    for asker, to, error in cases:
        with pytest.raises(error):
            await ask(hive, asker, to)
    assert await hive.questions.open() == []
    assert await hive.inbox("bob") == await hive.inbox("carol") == []


async def test_texts_are_bounded_and_are_text(hive: Asking) -> None:
    big = "x" * limits.OPTION_BYTES
    await hive.questions.ask("alice", "x" * limits.QUESTION_BYTES, (big,), False, None, None)
    for question, options in ((" \n", ()), ("x" * 16_385, ()), ("?", (big + "x",)), ("?", ("a",) * 51), ("\ud800", ())):
        with pytest.raises(BadInput) as caught:
            await hive.questions.ask("alice", question, options, False, None, None)
        assert caught.value.hint
    for answer in ("x" * 65_537, "\udfff", "", " \n"):
        with pytest.raises(BadInput):
            await hive.questions.answer(1, "operator", answer)
    assert len(await hive.questions.open()) == 1


@pytest.mark.parametrize(
    ("options", "multi", "words"),
    [
        (("red", "red"), False, "twice"),
        (("red", ""), False, "empty"),
        (("red", " "), True, "empty"),
        (("salt, pepper", "oil"), True, "separates the answers"),
    ],
)
async def test_options_that_no_answer_could_tell_apart_are_refused(
    hive: Asking, options: tuple[str, ...], multi: bool, words: str
) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        await hive.questions.ask("alice", "?", options, multi, None, "bob")
    assert caught.value.hint


async def test_an_option_of_a_single_choice_may_hold_what_joins_several(hive: Asking) -> None:
    await hive.questions.ask("alice", "?", ("salt, pepper", "oil"), False, None, "bob")


async def test_an_asker_has_a_limited_number_of_open_questions(hive: Asking) -> None:
    ids = [await ask(hive, to=None) for _ in range(questions.OPEN_MOST)]
    with pytest.raises(Conflict, match="the limit is 100"):
        await ask(hive, to=None)
    await ask(hive, "bob", None)
    await hive.questions.cancel(ids[0], "alice")
    await ask(hive, to=None)


async def test_asking_and_cancelling_over_and_over_pushes_nothing_out_of_anybodys_inbox(
    hive: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.store.notices.TOPIC_KEPT", 10)
    first = await ask(hive)
    for _ in range(9):
        await hive.questions.cancel(await ask(hive), "alice")
    assert [event.model_dump()["id"] for event in await hive.helper_events("bob")] == [first]
    await hive.questions.cancel(await ask(hive), "alice")
    with pytest.raises(TransientError, match="the inbox of alice"):
        await ask(hive)


async def test_what_one_asks_holds_back_nobody_else(hive: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.notices.TOPIC_KEPT", 10)
    for number in range(10):
        await ask(hive)
        if number % 2:  # taken and never acked
            await hive.db.write(lambda connection: connection.execute("UPDATE messages SET delivered_at = 1"))
    with pytest.raises(TransientError, match="the inbox of bob"):
        await ask(hive)
    await ask(hive, "manager")
    await ask(hive, "bob", "alice")
    await ask(hive, "bob", None)
    await hive.reminders.remind("bob", "look", InSeconds(seconds=0), None)
    assert await hive.reminders.fire_due() == 1


@pytest.mark.parametrize("name", ["alice", "manager", "operator"])
async def test_nobody_asks_itself(hive: Asking, name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} cannot ask itself"):
        await ask(hive, name, name)


async def test_of_what_is_over_each_asker_has_its_own_bounds_in_number_bytes_and_days(
    hive: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def left() -> list[int]:
        return await hive.db.read(lambda connection: [n for (n,) in connection.execute("SELECT id FROM questions")])

    monkeypatch.setattr("reconciler.store.questions.DONE_KEPT", 3)
    monkeypatch.setattr("reconciler.store.questions.DONE_BYTES", 100_000)
    other, waiting = await ask(hive, "bob", None), await ask(hive, "alice", None)
    await hive.questions.answer(other, "operator", "yes")
    ids = [await ask(hive, "alice", None) for _ in range(5)]
    for id in ids:
        await hive.questions.answer(id, "operator", "yes")
    assert await left() == [other, waiting, *ids[2:]]
    for _ in range(2):
        ids.append(await ask(hive, "alice", None))
        await hive.questions.answer(ids[-1], "operator", "x" * 60_000)
    assert await left() == [other, waiting, ids[-1]]
    hive.now += 30 * 24 * 3600
    assert await hive.questions.clean(hive.now) == 0
    assert await hive.questions.clean(hive.now + 1) == 2
    assert await left() == [waiting]


async def test_an_agent_that_asks_too_fast_is_held_back_and_what_it_asked_can_be_answered(hive: Asking) -> None:
    ids = []
    for _ in range(EVENTS_AT_ONCE // 2):
        ids.append(await ask(hive))
        await hive.questions.cancel(ids[-1], "alice")
        await hive.db.write(lambda connection: connection.execute("DELETE FROM messages"))
    with pytest.raises(TransientError, match="alice makes events too fast"):
        await ask(hive)
    id = await ask(hive, "bob", "alice")
    await hive.questions.answer(id, "alice", "yes")


async def test_a_destroyed_agents_questions_end_and_who_asked_it_is_told(hive: Asking) -> None:
    own, asked, other = await ask(hive, "bob", "alice"), await ask(hive), await ask(hive, "alice", None)
    hive.names.discard("bob")
    await hive.questions.forget("bob")
    assert [question.id for question in await hive.questions.open()] == [other]
    [event] = await hive.helper_events("alice")  # what bob asked her is withdrawn
    assert isinstance(event, QuestionAnswered)
    assert (event.id, event.answer, event.answerer) == (asked, "[cancelled by system]", "system")
    assert await hive.helper_events("bob") == []  # nobody is to read it
    assert (await hive.questions.get(own)).answerer == "system"


async def test_a_damaged_row_is_listed_with_an_alarm_and_hides_no_other(hive: Asking) -> None:
    ids = [await ask(hive, to=None) for _ in range(4)]
    await hive.spoil("questions", "question", ids[0])
    await hive.spoil("questions", "options", ids[1], b'{"no": "list"}')
    await hive.spoil("questions", "asker", ids[2])
    listed = {question.id: question for question in await hive.questions.open()}
    assert set(listed) == set(ids)
    assert listed[ids[0]].question.startswith(ALARM)
    assert listed[ids[1]].options == (f'{ALARM} {{"no": "list"}}',)
    assert listed[ids[2]].asker.startswith(ALARM)
    await hive.questions.cancel(ids[2], "operator")
    assert ids[2] not in {question.id for question in await hive.questions.open()}
