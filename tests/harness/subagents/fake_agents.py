"""Sub-agents that do nothing but note what they were asked for (harness.subagents.tools.SubAgents)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meta.wire.pod import ScopeRule


class FakeAgents:
    """Each call is noted and answered by its words. `error` is raised by all, `hold` is waited for first."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.text: str | None = None

    async def spawn(self, name: str, task: str, scope: Sequence[ScopeRule]) -> str:
        return await self._do("spawn", name, task, tuple(scope))

    async def send(self, name: str, input: str) -> str:
        return await self._do("send", name, input)

    async def read(self, name: str) -> str:
        return await self._do("read", name)

    async def stop(self, name: str) -> str:
        return await self._do("stop", name)

    async def list(self) -> str:
        return await self._do("list")

    async def _do(self, *words: object) -> str:
        self.calls.append(words)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return self.text if self.text is not None else f"{words[0]} is done"
