"""A message whose turns are all parked while those of others are fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from harness.suspects import KEPT, MANY, PROOFS, SUSPECT_SECONDS, Suspects
from meta.wire.agent import MessageResponse
from meta.wire.live import Note
from tests.harness.inside import Inside, requeues
from tests.support.scripted_runtime import OK, Step, ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

PARKED = TurnOutcome(Ending.PARKED, "the server had an error")
GOOD = TurnOutcome(Ending.OK)
LATER = SUSPECT_SECONDS


def message(id: int) -> MessageResponse:
    return MessageResponse(sender="bob", body="", id=id)


def suspects(*ids: int) -> Suspects:
    """Return what follows from many parked turns of these messages."""
    found = Suspects()
    for id in ids:
        for _ in range(MANY):
            found.note(message(id), PARKED, 0.0)
    return found


@pytest.mark.parametrize(("turns", "now"), [(MANY - 1, LATER), (MANY, LATER - 1)])
def test_few_parked_turns_or_a_few_minutes_of_them_are_an_outage(turns: int, now: float) -> None:
    found = Suspects()
    for _ in range(turns):
        found.note(message(1), PARKED, 0.0)
    assert not found.suspected(1, now)


def prove(found: Suspects, id: int, times: int) -> list[int | None]:
    """Let message 2 have good turns before and after each parked one of `id`. Return what each says that proves."""
    found.note(message(2), GOOD, LATER)
    news = []
    for _ in range(times):
        found.note(message(id), PARKED, LATER)
        news.append(found.note(message(2), GOOD, LATER))
    return news


def test_a_message_is_at_fault_if_its_turns_are_parked_again_and_again_between_good_ones_of_others() -> None:
    found = suspects(1)
    assert found.suspected(1, LATER)
    assert prove(found, 1, PROOFS) == [None] * (PROOFS - 1) + [1]
    assert (found.at_fault(1), found.suspected(1, LATER), found.at_fault(2)) == (True, False, False)


def test_each_proof_pays_for_one_failed_turn() -> None:
    found = suspects(1)
    prove(found, 1, PROOFS)
    failed = 0
    while found.at_fault(1):
        found.note(message(1), PARKED, LATER)
        failed += 1
    assert failed == PROOFS


def test_one_good_turn_of_another_message_proves_nothing_against_those_that_waited_meanwhile() -> None:
    found = suspects(1, 3, 4)
    for _ in range(4 * PROOFS):
        found.note(message(2), GOOD, LATER)
        for _ in range(2):  # the outage is back
            for id in (1, 3, 4):
                found.note(message(id), PARKED, LATER)
    assert not any(found.at_fault(id) for id in (1, 3, 4))


def test_directly_after_a_good_turn_the_suspect_is_next() -> None:
    found = suspects(1)
    found.note(message(2), GOOD, LATER)
    assert not found.suspected(1, LATER)
    found.note(message(1), PARKED, LATER)
    assert found.suspected(1, LATER)


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.OK])
def test_a_turn_of_another_message_that_does_not_end_well_proves_nothing(ending: Ending) -> None:
    found = suspects(1)
    for _ in range(2 * PROOFS):
        found.note(message(1), PARKED, LATER)
        assert found.note(message(2), TurnOutcome(ending), LATER) is None
    assert found.suspected(1, LATER)


def test_a_limit_whose_end_is_named_says_nothing_about_the_message() -> None:
    found = Suspects()
    for _ in range(2 * MANY):
        found.note(message(1), TurnOutcome(Ending.PARKED, "your limit resets at 5pm", 1e9), 0.0)
    assert not found.suspected(1, LATER)


def test_a_good_turn_of_the_message_itself_ends_the_suspicion() -> None:
    found = suspects(1)
    prove(found, 1, PROOFS)
    assert found.note(message(1), GOOD, LATER) is None
    assert (found.suspected(1, LATER), found.at_fault(1)) == (False, False)


def test_of_several_messages_the_one_with_the_fewest_parked_turns_has_the_next_turn() -> None:
    found = suspects(1)
    found.note(message(2), PARKED, LATER)
    assert found.choose([message(1), message(2), message(3), message(4)]).id == 3
    assert found.choose([message(1), message(2)]).id == 2


def test_only_some_messages_are_remembered() -> None:
    found = suspects(*range(KEPT + 1))
    assert not found.suspected(0, LATER)
    assert found.suspected(KEPT, LATER)


def parks(*bodies: str) -> Step:
    """Return a turn that parks for messages with these bodies, and that is good for all others."""

    async def step(request: TurnRequest, sink: Sink) -> TurnOutcome:
        return PARKED if request.message.body in bodies else await OK(request, sink)

    return step


@pytest.fixture
def hasty(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A harness that suspects a message soon."""
    monkeypatch.setattr("harness.suspects.SUSPECT_SECONDS", 0.0)
    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.001)
    monkeypatch.setattr("harness.retry.LONGEST_DELAY", 0.002)
    return inside


async def test_a_message_that_always_parks_lets_the_others_pass_and_becomes_a_dead_letter(
    hasty: Inside, hive: FakeHive
) -> None:
    hasty.runtime.steps = [parks("poison")] * 100
    others = ["second", "third", "fourth", "fifth", "sixth"]
    for body in ("poison", *others):
        await hive.post("bob", body)
    async with hasty.start():
        await hive.until(lambda: hive.acked == [2, 3, 4, 5, 6])
    assert hive.dead == [1]
    bodies = [request.message.body for request in hasty.runtime.requests]
    search = ["second", "poison", "third", "poison", "fourth", "poison", "fifth"]
    assert bodies == ["poison"] * MANY + search + ["poison"] * PROOFS + ["sixth"]
    assert requeues(hive) == PROOFS
    (note,) = [note.text for note in hasty.events.of(Note) if "parked" in note.text]
    assert note == "turns on message 1 are parked while others before and after are not: they count as failed now"


async def test_a_message_that_failed_before_it_always_parks_lets_the_others_pass(hasty: Inside, hive: FakeHive) -> None:
    hasty.runtime.steps = [ends(Ending.CRASHED, "killed"), *[parks("poison")] * 100]
    for body in ("poison", "second", "third", "fourth", "fifth", "sixth"):
        await hive.post("bob", body)
    async with hasty.start():
        await hive.until(lambda: hive.acked == [2, 3, 4, 5, 6])
    assert (hive.dead, requeues(hive)) == ([1], 3)


async def test_a_second_outage_counts_nothing_for_the_messages_that_waited_through_the_first(
    hasty: Inside, hive: FakeHive
) -> None:
    outage = ends(Ending.PARKED, "the server had an error")
    bodies = ("first", "second", "third", "fourth")
    hasty.runtime.steps = [outage] * MANY * len(bodies)
    for _ in range(len(bodies) - 1):
        hasty.runtime.steps += [OK, *[outage] * 10]
    for body in bodies:
        await hive.post("bob", body)
    async with hasty.start():
        await hive.until(lambda: len(hive.acked) == 4)
    assert (hive.dead, requeues(hive)) == ([], 0)


async def test_an_outage_of_all_messages_counts_nothing_however_long(hasty: Inside, hive: FakeHive) -> None:
    hasty.runtime.steps = [parks("first", "second")] * 30
    for body in ("first", "second"):
        await hive.post("bob", body)
    async with hasty.start():
        await hive.until(lambda: len(hive.acked) == 2)
    assert (hive.dead, requeues(hive)) == ([], 0)
    bodies = [request.message.body for request in hasty.runtime.requests[:-2]]
    assert abs(bodies.count("first") - bodies.count("second")) <= MANY


async def test_a_message_that_waits_alone_is_tried_for_ever(hasty: Inside, hive: FakeHive) -> None:
    hasty.runtime.steps = [parks("only")] * 20
    await hive.post("bob", "only")
    async with hasty.start():
        await hive.until(lambda: hive.acked == [1])
    assert (hive.dead, len(hasty.runtime.requests)) == ([], 21)


async def test_an_older_hive_that_gives_no_single_message_back_is_not_asked_for_another_one(
    hasty: Inside, hive: FakeHive
) -> None:
    hive.hold = None
    hasty.runtime.steps = [parks("poison")] * 20
    for body in ("poison", "second"):
        await hive.post("bob", body)
    async with hasty.start():
        await hive.until(lambda: hive.acked == [1, 2])
    assert [request.message.body for request in hasty.runtime.requests] == ["poison"] * 21 + ["second"]
