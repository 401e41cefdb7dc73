"""Requests that wait, and end with the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from api.operations.base import Call
from meta.errors import TransientError

T = TypeVar("T")


async def unless_stopping(call: Call, work: Coroutine[None, None, T], message: str) -> T:
    """Return the result of `work`. Raise TransientError with `message` if the daemon ends first."""
    waiting = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(call.stopping.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise TransientError(message, "`hive serve`")
    finally:
        waiting.cancel()
        stopping.cancel()
        await asyncio.wait({waiting, stopping})
