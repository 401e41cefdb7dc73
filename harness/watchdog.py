"""The deadline on silence: a CLI that writes no line for too long counts as dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from meta.wire.live import AnyItem, ToolCall, ToolResult

TOOLS_KEPT = 1_000
"""Tools that count as running, at most: a CLI that never ends any must not fill the memory."""


class Watchdog:
    """Watches the lines of one turn. `silence` seconds may pass between two, `tool` seconds while a tool runs."""

    def __init__(self, silence: float, tool: float, clock: Callable[[], float]) -> None:
        self._silence = silence
        self._tool = tool
        self._clock = clock
        self._last = clock()
        self._running: set[str] = set()

    def line(self, items: Sequence[AnyItem]) -> None:
        """Record a sign of life, and which tools began or ended with it."""
        self._last = self._clock()
        for item in items:
            if isinstance(item, ToolCall) and len(self._running) < TOOLS_KEPT:
                self._running.add(item.id)
            elif isinstance(item, ToolResult):
                self._running.discard(item.id)

    @property
    def limit(self) -> float:
        """Return the seconds that may pass now."""
        return self._tool if self._running else self._silence

    @property
    def reason(self) -> str:
        """Return why the CLI counts as dead."""
        if self._running:
            return f"no line for {self._tool:g} s while a tool ran (limits.tool_seconds)"
        return f"no line for {self._silence:g} s (limits.silence_seconds)"

    async def wait(self) -> None:
        """Wait until the CLI was silent for too long."""
        while (rest := self._last + self.limit - self._clock()) > 0:  # noqa: ASYNC110 - each line moves the end
            await asyncio.sleep(min(rest, self._silence, self._tool))
