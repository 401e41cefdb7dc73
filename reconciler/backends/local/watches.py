"""The running supervisors. A pidfd watch on each gives a hint when it ends, without polling."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from meta.names import AgentName
from meta.process.identity import ProcessIdentity, open_pidfd


@dataclass(slots=True, eq=False)
class Watch:
    """One supervisor that is watched."""

    which: ProcessIdentity
    pidfd: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def signal(self, number: signal.Signals) -> None:
        """Signal exactly this process. Do nothing if it has ended."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    async def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`, and return True if the process ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        return self.ended.is_set()


class Watches:
    """All watched supervisors by agent.

    `on_end` is called on the loop when one ends, by itself or by a signal.
    """

    def __init__(self, on_end: Callable[[AgentName], None]) -> None:
        self._on_end = on_end
        self._watches: dict[AgentName, Watch] = {}

    def get(self, agent: AgentName) -> Watch | None:
        """Return the agent's supervisor while it runs."""
        return self._watches.get(agent)

    def add(self, agent: AgentName, which: ProcessIdentity) -> bool:
        """Watch `which` and return True if it still runs. A pidfd never refers to another process."""
        pidfd = open_pidfd(which)
        if pidfd is None:
            return False
        self._drop(agent)
        watch = self._watches[agent] = Watch(which, pidfd)
        asyncio.get_running_loop().add_reader(pidfd, self._on_readable, agent, watch)
        return True

    def signal(self, agent: AgentName, number: signal.Signals) -> None:
        """Signal the agent's supervisor, if there is one."""
        watch = self._watches.get(agent)
        if watch is not None:
            watch.signal(number)

    def _on_readable(self, agent: AgentName, watch: Watch) -> None:
        self._drop(agent)
        watch.ended.set()
        self._on_end(agent)

    def _drop(self, agent: AgentName) -> None:
        watch = self._watches.pop(agent, None)
        if watch is not None:
            asyncio.get_running_loop().remove_reader(watch.pidfd)
            os.close(watch.pidfd)

    def close(self) -> None:
        """Stop watching. The supervisors keep running."""
        for agent in list(self._watches):
            self._drop(agent)
