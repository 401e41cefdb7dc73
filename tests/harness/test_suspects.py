"""A message whose turns are all parked while those of others are fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from harness.suspects import KEPT, MANY, SUSPECT_SECONDS, Suspects
from meta.wire.agent import MessageResponse
from meta.wire.live import Note
from tests.harness.inside import Inside, requeues
from tests.support.scripted_runtime import OK, Step

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

PARKED = TurnOutcome(Ending.PARKED, "the server had an error")
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


def test_a_message_is_at_fault_if_its_turns_are_parked_and_that_of_another_one_is_not() -> None:
    found = suspects(1)
    assert found.suspected(1, LATER)
    assert found.note(message(2), TurnOutcome(Ending.OK), LATER) == [1]
    assert (found.at_fault(1), found.suspected(1, LATER), found.at_fault(2)) == (True, False, False)


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.OK])
def test_a_turn_of_another_message_that_does_not_end_well_proves_nothing(ending: Ending) -> None:
    found = suspects(1)
    assert found.note(message(2), TurnOutcome(ending), LATER) == []
    assert found.suspected(1, LATER)


def test_a_limit_whose_end_is_named_says_nothing_about_the_message() -> None:
    found = Suspects()
    for _ in range(2 * MANY):
        found.note(message(1), TurnOutcome(Ending.PARKED, "your limit resets at 5pm", 1e9), 0.0)
    assert not found.suspected(1, LATER)


def test_a_good_turn_of_the_message_itself_ends_the_suspicion() -> None:
    found = suspects(1)
    assert found.note(message(1), TurnOutcome(Ending.OK), LATER) == []
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
    for body in ("poison", "second", "third"):
        await hive.post("bob", body)
    async with hasty.start():
        await hive.until(lambda: hive.acked == [2, 3])
    assert hive.dead == [1]
    bodies = [request.message.body for request in hasty.runtime.requests]
    assert bodies == ["poison"] * MANY + ["second"] + ["poison"] * 3 + ["third"]
    assert requeues(hive) == 3
    (note,) = [note.text for note in hasty.events.of(Note) if "parked" in note.text]
    assert note == "each turn on message 1 is parked and one on message 2 is not: it counts as failed now"


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
