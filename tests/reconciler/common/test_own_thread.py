"""Work in a thread of its own."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from reconciler.common.own_thread import in_own_thread


async def test_the_result_and_the_error_of_the_work_come_back() -> None:
    assert await in_own_thread("audit", lambda: threading.current_thread().name) == "audit"
    with pytest.raises(ZeroDivisionError):
        await in_own_thread("audit", lambda: 1 // 0)
    with pytest.raises(SystemExit):
        await in_own_thread("audit", sys.exit)


def test_a_loop_ends_while_the_work_goes_on() -> None:
    go_on = threading.Event()
    ended = threading.Event()

    def work() -> None:
        go_on.wait(60)
        ended.set()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_own_thread("audit", work), 0.01)

    asyncio.run(leave())
    assert not ended.is_set(), "the loop waited for the work"
    go_on.set()
    assert ended.wait(60)
