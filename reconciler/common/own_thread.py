"""Blocking work in a thread of its own, for work that may be long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_own_thread(name: str, work: Callable[[], T]) -> T:
    """Return the result of `work`, or raise its error. A daemon that ends does not wait for this thread.

    It would wait for one of `asyncio.to_thread`. If the caller is cancelled, the work goes on.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # a caller that is cancelled does not cancel the work

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's loop
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
