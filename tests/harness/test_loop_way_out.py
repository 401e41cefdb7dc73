"""The loop and the way out: agents wait for it, and are told what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from meta.wire.link import TurnState
from meta.wire.live import TurnEnd
from tests.harness.inside import Inside
from tests.support.scripted_runtime import OK, ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

SILENT = "the way out does not answer"


class Way:
    """A way out that a test opens and closes."""

    def __init__(self, why: str = "", key: str = "", *, known: bool = True) -> None:
        self.why, self.key, self.known, self.misses = why, key, known, 0
        self.refused: list[str] = []
        self.was_told = 0

    async def look(self, *, fresh: bool = False) -> str:
        self.known = self.known or not self.why
        return self.why

    def lines(self) -> Sequence[str]:
        return self.refused

    def mark_shown(self) -> None:
        self.was_told += 1
        self.refused = []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.loop.WAY_OUT_SECONDS", 0.01)
    monkeypatch.setattr("harness.loop.LOGIN_LOOK_SECONDS", 0.01)


async def test_without_a_way_out_no_message_is_taken_and_the_turn_begins_once_it_answers(
    inside: Inside, hive: FakeHive
) -> None:
    way = inside.way_out = Way(SILENT, known=False)
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert (hive.states[-1].reason, hive.waiting, inside.runtime.requests) == (SILENT, 1, [])
        before = len(hive.states)
        way.why = ""
        await hive.until(lambda: hive.acks == 1)
    assert not inside.runtime.requests[0].message.redelivered
    parked = [state for state in hive.states[before:] if state.state is TurnState.PARKED]
    assert parked == []


async def test_a_way_out_that_goes_while_a_message_comes_gives_it_back(inside: Inside, hive: FakeHive) -> None:
    way = inside.way_out = Way()
    async with inside.start():
        await hive.until(lambda: hive.calls)
        way.why = SILENT
        await hive.post("operator", "work")
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        await hive.until(lambda: hive.releases)
        assert inside.runtime.requests == []
        way.why = ""
        await hive.until(lambda: hive.acks == 1)
    assert hive.dead == []


@pytest.mark.parametrize("ending", [Ending.CRASHED, Ending.REFUSED, Ending.PARKED, Ending.NEEDS_LOGIN])
async def test_a_turn_that_lost_its_way_out_waits_for_that_alone_and_is_no_failed_one(
    inside: Inside, hive: FakeHive, ending: Ending
) -> None:
    way = inside.way_out = Way()

    async def lose(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        way.why = SILENT
        way.misses += 1
        return TurnOutcome(ending, "no way out of this container")

    inside.runtime.steps = [lose] * 4
    await hive.post("operator", "work")
    async with inside.start():
        for _ in range(4):
            await hive.until(lambda: hive.releases and hive.turn is TurnState.PARKED)
            hive.releases.clear()
            way.why = ""
        await hive.until(lambda: hive.acks == 1)
    assert (hive.dead, len(inside.runtime.requests)) == ([], 5)


async def test_a_turn_that_found_no_way_out_for_a_moment_is_tried_again_at_once(inside: Inside, hive: FakeHive) -> None:
    way = inside.way_out = Way()

    async def lose(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        way.misses += 1
        return TurnOutcome(Ending.PARKED, "connection error")

    inside.runtime.steps = [lose]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert hive.dead == []


async def test_with_a_key_outside_a_missing_login_keeps_no_turn_back(inside: Inside, hive: FakeHive) -> None:
    inside.way_out = Way(key="anthropic", known=False)
    async with inside.start():
        await hive.until(lambda: hive.calls)
        inside.set_login("there is no login")
        await hive.post("operator", "work")
        await hive.until(lambda: hive.acks == 1)
        assert TurnState.NEEDS_LOGIN not in [state.state for state in hive.states]
        assert hive.abouts[-1].key == "anthropic"


async def test_a_key_outside_that_appears_ends_the_wait_for_a_login(inside: Inside, hive: FakeHive) -> None:
    way = inside.way_out = Way()
    async with inside.start():
        await hive.until(lambda: hive.calls)
        inside.set_login("there is no login")
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
        await hive.post("operator", "work")
        way.key = "anthropic"
        await hive.until(lambda: hive.acks == 1)


async def test_a_key_outside_that_does_not_work_asks_for_no_login(inside: Inside, hive: FakeHive) -> None:
    inside.way_out = Way(key="anthropic")
    answer = "API Error: 403 the key cannot be used."
    inside.runtime.steps = [ends(Ending.NEEDS_LOGIN, f"{answer}: `hive login alice`", refusal=answer)]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert (hive.states[-1].reason, hive.states[-1].person) == (
            "no turn with the key outside, of kind anthropic: API Error: 403 the key cannot be used; "
            "`hive doctor` checks the key, no login helps",
            True,
        )
        (note,) = (event.note for event in inside.events.events if isinstance(event, TurnEnd))
        assert note == hive.states[-1].reason


async def test_what_hive_says_of_the_container_is_told_until_a_turn_ends_well(inside: Inside, hive: FakeHive) -> None:
    way = Way()
    way.refused = ["refused: crates.io:443, 3 times", "x\nforged"]
    inside.way_out, inside.news = way, (way,)
    inside.runtime.steps = [ends(Ending.CRASHED, "gone"), OK, OK]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)
    prompts = [request.prompt for request in inside.runtime.requests]
    assert ["refused: crates.io:443, 3 times" in prompt for prompt in prompts] == [True, True, False]
    assert "\nforged" not in prompts[0]
    assert way.was_told == 2
