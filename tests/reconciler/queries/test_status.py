"""Views of all agents: each is of one moment, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from meta.errors import TransientError
from meta.names import AgentName
from reconciler.daemon.daemon import Daemon
from reconciler.queries.status import OneLook

ALICE, BOB = AgentName("alice"), AgentName("bob")


def after_each_look(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, happen: Callable[[], Awaitable[None]]) -> None:
    """Have something happen each time that all agents were observed."""
    observe = daemon.world.observer.everything

    async def everything(*, or_last: bool = False) -> Any:
        seen = await observe(or_last=or_last)
        await happen()
        return seen

    monkeypatch.setattr(daemon.world.observer, "everything", everything)


@pytest.mark.parametrize("view", ["status", "plan", "metrics"])
async def test_an_agent_that_appears_during_a_view_is_not_in_it_and_in_the_next_one(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    async def shown() -> set[str]:
        match view:
            case "status":
                return {row.agent for row in (await daemon.service.status()).agents}
            case "plan":
                return {row.agent for row in await daemon.service.plan()}
            case _:
                return {row.agent for row in (await daemon.service.metrics.snapshot()).status.agents}

    async def spawn() -> None:
        if BOB not in daemon.world.observer.names():
            await daemon.service.spawns.begin(BOB, "test")
            assert await daemon.service.loop.settled(BOB, 30)

    after_each_look(daemon, monkeypatch, spawn)
    assert await shown() == {ALICE}
    assert await shown() == {ALICE, BOB}


async def test_a_row_of_status_is_of_one_moment(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def stop() -> None:
        nonlocal looks
        looks += 1
        await daemon.service.agents.stop(ALICE, "test", now=True)
        assert await daemon.service.loop.settled(ALICE, 30)

    after_each_look(daemon, monkeypatch, stop)
    (row,) = (await daemon.service.status()).agents
    assert (row.phase, row.desired, row.pid is not None) == ("running", "running", True)
    assert looks == 1
    (row,) = (await daemon.service.status()).agents
    assert (row.phase, row.desired, row.pid) == ("stopped", "stopped", None)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (TransientError("the disk is full", "make room"), "the disk is full (make room)"),
        (LookupError("on purpose"), "LookupError: on purpose"),
    ],
)
async def test_status_names_the_error_of_a_resync_until_one_succeeds(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, fault: Exception, text: str
) -> None:
    sweep, swept, faults = daemon.reconciler.sweep, asyncio.Queue[None](), [fault]

    async def failing_once() -> Any:
        try:
            if faults:
                raise faults.pop()
            return await sweep()
        finally:
            swept.put_nowait(None)

    async def notes_after_a_round() -> list[str]:
        task = asyncio.create_task(daemon.reconciler.run())
        async with asyncio.timeout(10):
            await swept.get()
        notes = [note for note in (await daemon.service.status()).notes if "background task" in note]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return notes

    monkeypatch.setattr(daemon.reconciler, "sweep", failing_once)
    assert await notes_after_a_round() == [f"background task resync failed ({text}); it tries again, and agents run on"]
    assert await notes_after_a_round() == []


async def test_a_look_that_fails_after_everybody_left_warns_of_nothing() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def see() -> Any:
        begun.set()
        await go_on.wait()
        raise TransientError("the disk is slow")

    look: Any = OneLook(SimpleNamespace(see=see))  # type: ignore[arg-type]
    asking = asyncio.create_task(look())
    await begun.wait()
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    go_on.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    del look, asking
    gc.collect()
    assert reports == []
