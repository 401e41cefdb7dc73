"""Who may ask the resolver: few threads for all agents, and one for each whatever the others wait for."""

from __future__ import annotations

import asyncio

from reconciler.egress.limits import RESOLUTIONS, RESOLUTIONS_PER_AGENT
from reconciler.egress.places import Places


async def _start(places: Places, asker: str, count: int) -> list[asyncio.Task[None]]:
    """Return tasks that each take a place, after those had it for which there was one."""
    tasks = [asyncio.create_task(places.take(asker)) for _ in range(count)]
    await _settle()
    return tasks


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def _done(tasks: list[asyncio.Task[None]]) -> int:
    return sum(task.done() and not task.cancelled() for task in tasks)


async def _fill(places: Places) -> None:
    """Let agents have all shared places, and want more."""
    for number in range(RESOLUTIONS // RESOLUTIONS_PER_AGENT):
        await _start(places, f"a{number}", 2 * RESOLUTIONS_PER_AGENT)


async def test_an_agent_has_a_few_places() -> None:
    assert _done(await _start(Places(), "alice", 20)) == RESOLUTIONS_PER_AGENT


async def test_agents_that_hold_all_places_leave_one_to_each_other_agent() -> None:
    places = Places()
    await _fill(places)

    assert _done(await _start(places, "alice", 3)) == 1
    assert _done(await _start(places, "bob", 3)) == 1


async def test_a_place_goes_to_the_agents_in_their_turn() -> None:
    places = Places()
    await _fill(places)
    bob = await _start(places, "bob", 3)
    for asker in ("a0", "a1", "a2", "a3", "a0"):  # bob's first is beyond the bound, then each of the four has one
        places.give(asker)
    await _settle()

    assert _done(bob) == 1

    places.give("a1")
    await _settle()

    assert _done(bob) == 2


async def test_a_question_that_is_given_up_while_it_waits_keeps_no_place() -> None:
    places = Places()
    alice = await _start(places, "alice", RESOLUTIONS_PER_AGENT + 2)
    alice[-2].cancel()
    await _settle()
    places.give("alice")
    await _settle()

    assert alice[-1].done()


async def test_a_place_that_comes_to_a_question_that_is_given_up_goes_on_to_the_next() -> None:
    places = Places()
    alice = await _start(places, "alice", RESOLUTIONS_PER_AGENT + 2)
    places.give("alice")
    alice[-2].cancel()  # it has the place, and does not know yet
    await _settle()

    assert alice[-2].cancelled()
    assert _done(alice[-1:]) == 1
