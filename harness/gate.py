"""Whether turns may begin, and what the harness is doing: shared by the link, which hears of drains, and the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meta.wire.link import TurnState


class Gate:
    """The turn state, and the wish of hive that no turn begins. Lives on one event loop."""

    def __init__(self) -> None:
        self.state = TurnState.IDLE
        self._open = asyncio.Event()
        self._open.set()
        self._closed = asyncio.Event()
        self._listener: Callable[[TurnState], None] | None = None

    @property
    def draining(self) -> bool:
        """True while no turn may begin."""
        return self._closed.is_set()

    def listen(self, listener: Callable[[TurnState], None] | None) -> None:
        """Call `listener` with each new state; one at a time, None ends it."""
        self._listener = listener

    def set(self, state: TurnState) -> None:
        """The harness does something else now."""
        if state is not self.state:
            self.state = state
            if self._listener is not None:
                self._listener(state)

    def drain(self) -> None:
        """No turn begins from now on."""
        self._open.clear()
        self._closed.set()

    def resume(self) -> None:
        """Turns may begin again."""
        self._closed.clear()
        self._open.set()

    async def closed(self) -> None:
        """Wait until hive asks for a drain."""
        await self._closed.wait()

    async def opened(self) -> None:
        """Wait until turns may begin."""
        await self._open.wait()
