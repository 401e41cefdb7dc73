"""Views of all agents: each is of one moment, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from meta.errors import BadInput, TransientError
from meta.names import AgentName
from reconciler.daemon.daemon import Daemon
from reconciler.loop.loop import OVERDUE
from reconciler.plan.observed import AgentObserved
from reconciler.queries.status import OneLook

ALICE, BOB = AgentName("alice"), AgentName("bob")


def after_each_look(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, happen: Callable[[], Awaitable[None]]) -> None:
    """Have something happen each time that agents were observed, but for those looks that it makes itself."""
    observe, happening = daemon.world.observer.several, False

    async def several(agents: Iterable[AgentName]) -> Any:
        nonlocal happening
        seen = await observe(agents)
        if not happening:
            happening = True
            await happen()
            happening = False
        return seen

    monkeypatch.setattr(daemon.world.observer, "several", several)


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

    async def glance() -> Any:
        begun.set()
        await go_on.wait()
        raise TransientError("the disk is slow")

    look: Any = OneLook(SimpleNamespace(glance=glance))  # type: ignore[arg-type]
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


async def test_a_glance_says_what_a_look_says_after_each_command(daemon: Daemon) -> None:
    service, phases = daemon.service, []

    async def propose_and_approve() -> None:
        id = (await service.settings.propose(ALICE, "test", 'label = "x"\n')).id
        await service.proposals.approve(id, "test", agent=ALICE)

    commands: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: service.turns.pause(ALICE, "test"),
        lambda: service.turns.resume(ALICE, "test"),
        lambda: service.spawns.begin(BOB, "test"),
        propose_and_approve,
        lambda: service.agents.stop(BOB, "test", now=True),
        lambda: service.agents.restart(ALICE, "test", now=True),
        lambda: service.agents.destroy(BOB, "test", purge=True),
    )
    daemon._parts.hints.listen(service.loop.hint)  # as a daemon does that has started
    await service.status.glance()
    for command in commands:
        await command()
        async with asyncio.timeout(30):
            while service.loop.queue.depth():  # `settled` would look at all agents
                await asyncio.sleep(0)
        glance = (await service.status.glance()).status
        assert glance == (await service.status.see()).status
        phases.append({row.agent: row.phase for row in glance.agents})
    assert phases[-1] == {ALICE: "running"}
    assert {BOB: "stopped", ALICE: "running"} in phases


async def test_a_glance_looks_at_the_agents_that_something_was_hinted_about(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    await daemon.service.spawns.begin(BOB, "test")
    assert await daemon.service.loop.settled(BOB, 30)
    await daemon.service.status.see()
    observed, observe = [], daemon.world.observer.observe

    def noted(agent: AgentName) -> AgentObserved:
        observed.append(agent)
        return observe(agent)

    monkeypatch.setattr(daemon.world.observer, "observe", noted)
    await daemon.service.status.glance()
    assert observed == []
    daemon.reconciler.hint(BOB)
    await daemon.service.status.glance()
    await daemon.service.status.glance()
    assert set(observed) == {BOB}


async def test_what_changes_without_a_hint_is_in_a_glance_once_sweeps_are_overdue(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    glance = daemon.reconciler.glance
    await daemon.reconciler.look()
    monkeypatch.setattr(daemon.world.observer, "observe", lambda _: AgentObserved(damage="its disk is gone"))
    assert (await glance()).observed.agents[ALICE].damage == ""
    passed = OVERDUE * daemon.world.config.resync + 1
    monkeypatch.setattr("reconciler.loop.loop.time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed))
    assert (await glance()).observed.agents[ALICE].damage == "its disk is gone"


async def test_a_decision_is_kept_with_the_meta_that_it_was_made_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stop() -> None:
        await daemon.service.agents.stop(ALICE, "test", now=True)
        await daemon.world.observer.desired()  # as the worker of another agent does

    monkeypatch.setattr(daemon.reconciler.queue, "add", lambda *_, **__: None)  # nobody works on alice
    daemon.reconciler.hint(ALICE)
    monkeypatch.setattr(daemon.reconciler, "look_now", lambda _: None)
    after_each_look(daemon, monkeypatch, stop)
    before = (await daemon.reconciler.glance()).plan.decisions[ALICE]  # meta moves while it looks
    after = (await daemon.reconciler.glance()).plan.decisions[ALICE]
    assert (before.step.name, after.step.name) == ("none", "stop")


async def test_waiting_for_a_hive_whose_meta_is_damaged_raises_that(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read() -> Any:
        raise BadInput("agents.json is damaged")

    monkeypatch.setattr(daemon.world.observer, "observe", lambda _: AgentObserved())  # so there is work
    monkeypatch.setattr(daemon.reconciler.queue, "add", lambda *_, **__: None)  # which nobody does
    await daemon.reconciler.look()
    monkeypatch.setattr(daemon.world.meta, "read", read)
    with pytest.raises(BadInput):
        await daemon.service.loop.settled(None, 30)
