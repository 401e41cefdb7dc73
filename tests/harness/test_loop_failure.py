"""The loop: turns that are parked or that fail, and a CLI that cannot run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from meta.errors import BadInput
from meta.wire.link import TurnState, Verb
from meta.wire.live import StateChange, TurnEnd
from tests.harness.inside import Inside, poll, requeues
from tests.support.scripted_runtime import ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_an_outage_of_six_turns_loses_nothing_and_counts_no_failed_turn(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.01)
    monkeypatch.setattr("harness.retry.LONGEST_DELAY", 0.02)
    inside.runtime.steps = [ends(Ending.PARKED, "the API is down")] * 6
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert len(inside.runtime.requests) == 7
    assert (hive.releases, requeues(hive)) == ([1, 2, 3, 4, 5, 6], 0)
    assert "may already be handled" in inside.runtime.requests[-1].prompt
    assert TurnState.PARKED in [state.state for state in hive.states]


async def test_a_limit_waits_until_the_time_that_the_cli_names(inside: Inside, hive: FakeHive) -> None:
    until = time.time() + 0.3
    inside.runtime.steps = [ends(Ending.PARKED, "your limit resets soon", until)]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert (hive.states[-1].until, hive.states[-1].reason) == (until, "your limit resets soon")
        assert hive.waiting == 1
        await hive.until(lambda: hive.acks == 1)
    assert time.time() >= until
    assert [change.state for change in inside.events.of(StateChange)] == [
        TurnState.IDLE,
        TurnState.THINKING,
        TurnState.PARKED,
        TurnState.IDLE,
        TurnState.THINKING,
        TurnState.IDLE,
    ]


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.CRASHED])
async def test_a_turn_that_fails_is_given_back_as_failed_and_the_next_message_has_its_turn(
    inside: Inside, hive: FakeHive, ending: Ending
) -> None:
    inside.runtime.steps = [ends(ending, "poison")] * 3
    await hive.post("operator", "poison")
    await hive.post("operator", "good")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert requeues(hive) == 3
    assert hive.releases == []
    assert [end.ending for end in inside.events.of(TurnEnd)] == [ending.value] * 3 + ["ok"]


async def test_an_older_hive_that_does_not_answer_a_release_gets_a_requeue(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.link.RELEASE_SECONDS", 0.05)
    hive.releasing, hive.hold = False, None
    inside.runtime.steps = [ends(Ending.PARKED, "down", time.time() + 3600)]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: requeues(hive) == 1)
        await hive.until(lambda: hive.turn is TurnState.PARKED)
    assert hive.waiting == 1


async def test_a_hive_that_is_slow_to_answer_a_release_counts_no_failed_turn(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.link.RELEASE_SECONDS", 0.02)
    hive.releasing = False
    inside.runtime.steps = [ends(Ending.PARKED, "down", time.time() + 3600)]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.ignored >= 3)
        hive.releasing = True
        await hive.until(lambda: hive.turn is TurnState.PARKED)
    assert (requeues(hive), hive.waiting) == (0, 1)


async def test_a_hive_that_takes_nothing_back_for_long_sees_a_turn_that_is_over(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.loop.SETTLE_SECONDS", 0.05)
    monkeypatch.setattr("harness.link.RELEASE_SECONDS", 0.02)
    hive.releasing = False
    inside.runtime.steps = [ends(Ending.PARKED, "down", time.time() + 0.1)]
    await hive.post("bob", "hello")
    async with inside.start():
        await hive.until(lambda: hive.ignored and hive.turn is TurnState.PARKED)
        assert "its disk may be full" in hive.states[-1].reason
        assert hive.acks == 0
        hive.releasing = True
        await hive.until(lambda: hive.acked == [1])
    assert ({*hive.releases}, requeues(hive), len(inside.runtime.requests)) == ({1}, 0, 2)


async def test_a_release_is_repeated_to_a_daemon_that_restarted(inside: Inside, hive: FakeHive) -> None:
    hive.releasing = False
    inside.runtime.steps = [ends(Ending.PARKED, "down", time.time() + 3600)]
    await hive.post("operator", "work")
    async with inside.start():
        await poll(lambda: inside.events.of(TurnEnd))
        await hive.close()
        hive.releasing = True
        await hive.open()
        await hive.until(lambda: hive.turn is TurnState.PARKED)
    assert (hive.releases, requeues(hive)) == ([1], 0)


async def test_a_cli_that_is_missing_parks_the_agent_until_it_is_there(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.loop.PROBLEM_SECONDS", 0.05)
    inside.runtime.problem = BadInput("claude is not installed", "add it to the container")
    inside.runtime.default_model = "small"
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert hive.states[-1].reason == "claude is not installed; add it to the container"
        assert hive.abouts[-1].problem == hive.states[-1].reason
        assert (hive.waiting, inside.runtime.requests) == (1, [])
        inside.runtime.problem = None
        await hive.until(lambda: hive.acks == 1)
        assert (hive.abouts[-1].program, hive.abouts[-1].problem) == ("1.2.3", "")
        assert (hive.abouts[-1].model, hive.abouts[-1].override) == ("small", "")


async def test_a_cli_that_was_mended_is_looked_for_at_once_when_the_operator_sets_the_model(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.problem = BadInput("claude is not installed", "add it to the container")
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        inside.runtime.problem = None
        assert (await hive.control(Verb.MODEL)).ok
        await hive.until(lambda: hive.acks == 1)
        assert (hive.abouts[-1].program, hive.abouts[-1].problem) == ("1.2.3", "")


async def test_a_cli_that_vanishes_later_costs_no_message_a_failed_turn(inside: Inside, hive: FakeHive) -> None:
    async def vanish(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        inside.runtime.problem = BadInput("claude is gone", "install it")
        return TurnOutcome(Ending.CRASHED, "it does not start")

    inside.runtime.steps = [vanish]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert (hive.states[-1].reason, hive.releases, requeues(hive)) == ("claude is gone; install it", [1], 0)
