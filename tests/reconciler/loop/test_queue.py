"""The work queue: one worker per agent, de-duplicated, back-off per agent. Virtual time."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest

from meta.errors import HiveError, PermanentError, TransientError
from meta.names import AgentName
from reconciler.loop.queue import Queue

ALICE, BOB = AgentName("alice"), AgentName("bob")
pytestmark = [pytest.mark.looptime]

Work = Callable[[AgentName], Awaitable[float | None]]


def queue(work: Work, errors: list[HiveError | None] | None = None) -> Queue:
    seen = errors if errors is not None else []
    return Queue(work, base=1.0, cap=8.0, on_error=lambda _, error: seen.append(error))


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_an_agent_added_many_times_is_worked_on_once() -> None:
    done: list[AgentName] = []

    async def work(agent: AgentName) -> None:
        done.append(agent)

    q = queue(work)
    for _ in range(5):
        q.add(ALICE)
    await asyncio.sleep(0.1)
    assert done == [ALICE]
    await q.close()


async def test_an_agent_added_while_it_is_worked_on_is_worked_on_once_more_and_never_twice_at_once() -> None:
    running, most, runs = 0, 0, 0
    gate = asyncio.Event()

    async def work(agent: AgentName) -> None:
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    q = queue(work)
    q.add(ALICE)
    await asyncio.sleep(0)
    q.add(ALICE)
    q.add(ALICE)
    gate.set()
    await asyncio.sleep(1)
    assert (most, runs) == (1, 2)
    await q.close()


async def test_one_agents_trouble_never_holds_up_another() -> None:
    done = asyncio.Event()

    async def work(agent: AgentName) -> None:
        if agent == ALICE:
            await asyncio.sleep(3600)
        done.set()

    q = queue(work)
    q.add(ALICE)
    q.add(BOB)
    async with asyncio.timeout(1):
        await done.wait()
    await q.close()


async def test_transient_errors_back_off_twice_as_long_each_time_up_to_a_cap() -> None:
    times: list[float] = []

    async def work(agent: AgentName) -> None:
        times.append(now())
        raise TransientError("no")

    q = queue(work)
    start = now()
    q.add(ALICE)
    await asyncio.sleep(24)
    assert [round(time - start) for time in times] == [0, 1, 3, 7, 15, 23]
    await q.close()


async def test_a_hint_does_not_overtake_a_backoff_but_a_command_does() -> None:
    times: list[float] = []

    async def work(agent: AgentName) -> None:
        times.append(now())
        raise PermanentError("no")

    q = queue(work)
    q.add(ALICE)
    await asyncio.sleep(0.1)
    q.add(ALICE)
    await asyncio.sleep(0.1)
    assert len(times) == 1
    q.add(ALICE, urgent=True)
    await asyncio.sleep(0.1)
    assert len(times) == 2
    await q.close()


async def test_work_that_asks_to_be_called_later_is_called_then() -> None:
    times: list[float] = []

    async def work(agent: AgentName) -> float | None:
        times.append(now())
        return 5.0 if len(times) == 1 else None

    q = queue(work)
    start = now()
    q.add(ALICE)
    await asyncio.sleep(30)
    assert [time - start for time in times] == [0.0, 5.0]
    await q.close()


async def test_an_interrupted_step_is_cancelled_and_the_agent_looked_at_again() -> None:
    seen: list[str] = []

    async def work(agent: AgentName) -> None:
        seen.append("begin")
        if len(seen) == 1:
            try:
                await asyncio.sleep(3600)
            finally:
                seen.append("cut")

    q = queue(work)
    q.add(ALICE)
    await asyncio.sleep(1)
    q.interrupt(ALICE)
    await asyncio.sleep(1)
    assert seen == ["begin", "cut", "begin"]
    await q.close()


async def test_an_unexpected_error_is_reported_and_backed_off_and_the_queue_lives_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors: list[HiveError | None] = []
    runs = 0

    async def work(agent: AgentName) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("a bug")

    q = queue(work, errors)
    q.add(ALICE)
    await asyncio.sleep(2)
    assert (runs, errors) == (2, [None])
    assert "a bug" in caplog.text
    await q.close()


async def test_an_agent_with_nothing_to_do_leaves_no_trace() -> None:
    async def work(agent: AgentName) -> float | None:
        return 5.0 if agent == BOB else None

    q = queue(work)
    q.add(ALICE)
    q.add(BOB)
    await asyncio.sleep(1)
    assert list(q._keys) == [BOB]
    await q.close()


async def test_a_lack_of_descriptors_passes_and_is_no_mistake_of_hive(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[HiveError | None] = []
    failed = asyncio.Event()

    async def work(agent: AgentName) -> float | None:
        raise OSError(errno.EMFILE, "Too many open files")

    def note(agent: AgentName, error: HiveError | None) -> None:
        errors.append(error)
        failed.set()

    queue = Queue(work, base=60, cap=60, on_error=note)
    queue.add(AgentName("alice"))
    await failed.wait()
    await queue.close()
    assert [type(error) for error in errors] == [TransientError]
    assert caplog.records == []
