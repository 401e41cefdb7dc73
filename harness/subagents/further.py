"""Pods further below: the sub-agents of sub-agents. The table of scopes has them; their sockets say what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.subagents.leases.table import Allocation
from harness.subagents.watch import Seen, watch
from meta.process.identity import ProcessIdentity


@dataclass(slots=True)
class FurtherPod:
    """One pod further below, and what is seen of it."""

    allocation: Allocation
    task: asyncio.Task[None]
    seen: Seen = field(default_factory=Seen)

    @property
    def owner(self) -> ProcessIdentity:
        """Return its process."""
        return self.allocation.owner


class FurtherPods:
    """The pods further below. `changed` is called after each change, `gone` when the socket of one answers no more."""

    def __init__(self, changed: Callable[[], None], gone: Callable[[], None]) -> None:
        self._changed = changed
        self._gone = gone
        self._pods: dict[str, FurtherPod] = {}

    @property
    def pods(self) -> tuple[FurtherPod, ...]:
        """Return them."""
        return tuple(self._pods.values())

    def follow(self, allocations: Iterable[Allocation]) -> tuple[Allocation, ...]:
        """Watch exactly these from now on. Return those that are new. The same name with another process is another."""
        now = {each.pod: each for each in allocations if each.adopted}
        for name, pod in list(self._pods.items()):
            if name not in now or now[name].owner != pod.owner:
                self._pods.pop(name).task.cancel()
        new = tuple(each for name, each in now.items() if name not in self._pods)
        for each in new:
            self._pods[each.pod] = FurtherPod(each, asyncio.create_task(self._watch(each)))
        for name, pod in self._pods.items():
            pod.allocation = now[name]
        return new

    async def _watch(self, allocation: Allocation) -> None:
        def saw(seen: Seen) -> None:
            pod = self._pods.get(allocation.pod)
            if pod is None or pod.owner != allocation.owner:
                return
            was_visible, pod.seen = pod.seen.visible, seen
            if was_visible and not seen.visible:
                self._gone()
            self._changed()

        await watch(Path(allocation.socket), saw)

    async def close(self) -> None:
        """Watch none any more."""
        tasks = [pod.task for pod in self._pods.values()]
        self._pods.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
