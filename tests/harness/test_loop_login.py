"""The loop without a login."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from harness.retry import FIRST_DELAY
from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from meta.wire.link import TurnState
from tests.harness.inside import Inside, poll
from tests.support.scripted_runtime import OK, ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


class Credentials:
    """A file that a login would write."""

    value = 0

    def mark(self) -> object:
        return self.value


async def test_a_login_that_appears_ends_the_wait_for_it(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.loop.LOGIN_LOOK_SECONDS", 0.01)
    credentials = inside.credentials = Credentials()
    inside.runtime.steps = [ends(Ending.NEEDS_LOGIN, "log in with `hive login alice`")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
        assert hive.waiting == 1
        credentials.value += 1
        await hive.until(lambda: hive.acks == 1)


async def test_a_cli_that_changes_its_credentials_in_each_refused_turn_is_not_tried_again_at_once(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.loop.LOGIN_LOOK_SECONDS", 0.001)
    credentials, looks, now = Credentials(), 0, time.time()

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now

    inside.credentials, inside.clock = credentials, clock

    async def refuse(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        credentials.value += 1
        return TurnOutcome(Ending.NEEDS_LOGIN, "the organisation has no access")

    inside.runtime.steps = [refuse] * 3
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: len(hive.releases) == 2)
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
        looks = 0
        await poll(lambda: looks > 10)
        assert len(inside.runtime.requests) == 2
        now += FIRST_DELAY
        await hive.until(lambda: len(hive.releases) == 3)


async def test_an_agent_without_a_login_takes_no_message_until_it_has_one(inside: Inside, hive: FakeHive) -> None:
    async with inside.start():
        await hive.until(lambda: hive.calls)
        inside.set_login("there is no login")
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
        await hive.post("operator", "work")
        await hive.until(lambda: hive.releases)
        assert (hive.waiting, inside.runtime.requests) == (1, [])
        inside.set_login(None)
        await hive.until(lambda: hive.acks == 1)


async def test_a_login_that_is_lost_in_a_turn_counts_after_it(inside: Inside, hive: FakeHive) -> None:
    async def lose(request: TurnRequest, sink: Sink) -> TurnOutcome:
        inside.set_login("there is no login")
        return await OK(request, sink)

    inside.runtime.steps = [lose]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.NEEDS_LOGIN)
    assert hive.acks == 1
