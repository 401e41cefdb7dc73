"""The gate for turns, and the turn state. Shared by the loop and by the link, which receives drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meta.wire.link import TurnState


class Gate:
    """The turn state, and whether hive requested a drain. For one event loop."""

    def __init__(self) -> None:
        self.state = TurnState.IDLE
        self._open = asyncio.Event()
        self._open.set()
        self._closed = asyncio.Event()
        self._listener: Callable[[TurnState], None] | None = None

    @property
    def draining(self) -> bool:
        """Return True while no turn may begin."""
        return self._closed.is_set()

    def listen(self, listener: Callable[[TurnState], None] | None) -> None:
        """Call `listener` with each new state. There is one listener; None removes it."""
        self._listener = listener

    def set(self, state: TurnState) -> None:
        """Set the turn state and report a change to the listener."""
        if state is not self.state:
            self.state = state
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
