"""The gate for turns, the turn state, and the turn that runs. Shared by the loop and by the link to hive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from meta.wire.link import TurnState

T = TypeVar("T")


class Gate:
    """The turn state, and whether hive requested a drain. For one event loop."""

    def __init__(self) -> None:
        self.state = TurnState.IDLE
        self.number = 0
        """The number of the turn that runs, or of the latest one."""
        self._open = asyncio.Event()
        self._open.set()
        self._closed = asyncio.Event()
        self._listener: Callable[[TurnState], None] | None = None
        self._since = time.monotonic()
        self._turn: asyncio.Task[Any] | None = None

    @property
    def draining(self) -> bool:
        """Return True while no turn may begin."""
        return self._closed.is_set()

    @property
    def seconds(self) -> float:
        """Return how long the turn state has been what it is."""
        return time.monotonic() - self._since

    async def run(self, turn: Coroutine[Any, Any, T]) -> T | None:
        """Do a turn. Return None if `cancel` ended it. A cancelled caller cancels it too."""
        self._turn = task = asyncio.create_task(turn)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            return None
        finally:
            self._turn = None

    def cancel(self, number: int | None = None) -> None:
        """End the turn that runs, if there is one. With a number, only if it is that one."""
        if self._turn is not None and number in (None, self.number):
            self._turn.cancel()

    def listen(self, listener: Callable[[TurnState], None] | None) -> None:
        """Call `listener` with each new state. There is one listener; None removes it."""
        self._listener = listener

    def set(self, state: TurnState) -> None:
        """Set the turn state and report a change to the listener."""
        if state is not self.state:
            self.number += state.in_turn and not self.state.in_turn
            self.state = state
            self._since = time.monotonic()
            if self._listener is not None:
                self._listener(state)

    def drain(self) -> None:
        """Allow no new turn until `resume`."""
        self._open.clear()
        self._closed.set()

    def resume(self) -> None:
        """Allow turns again."""
        self._closed.clear()
        self._open.set()

    async def wait_closed(self) -> None:
        """Wait until hive requests a drain."""
        await self._closed.wait()

    async def wait_open(self) -> None:
        """Wait until turns may begin."""
        await self._open.wait()
