"""The keyed work queue: one worker per agent, de-duplicated, with a back-off per agent.

A key that is added while its worker runs is worked on once more afterwards, never twice at the same time. The work
function returns the seconds after which it is called again, or None. After any error the work is retried after a
back-off that doubles, unless a TransientError names its own delay. An error that is not a HiveError is also logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meta.errors import HiveError, TransientError
from meta.names import AgentName
from meta.process.disk import NO_DESCRIPTOR, disk_error

log = logging.getLogger(__name__)

Work = Callable[[AgentName], Awaitable[float | None]]
OnError = Callable[[AgentName, HiveError | None], None]


@dataclass(slots=True)
class _Key:
    dirty: bool = False
    failures: int = 0
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    interrupted: bool = False


class Queue:
    """The queue of all agents. `base` and `cap` are the first and the longest back-off in seconds."""

    def __init__(self, work: Work, *, base: float, cap: float, on_error: OnError) -> None:
        self._work = work
        self._base = base
        self._cap = cap
        self._on_error = on_error
        self._keys: dict[AgentName, _Key] = {}
        self._closed = False

    def add(self, agent: AgentName, *, urgent: bool = False) -> None:
        """Work on `agent` as soon as its worker is free. Only an `urgent` call (a command) ends a back-off early."""
        if self._closed:
            return
        key = self._keys.setdefault(agent, _Key())
        if key.timer is not None and key.failures and not urgent:
            return
        key.dirty = True
        if key.timer is not None:
            key.timer.cancel()
            key.timer = None
        if key.task is None:
            key.task = asyncio.create_task(self._run(agent, key), name=f"reconcile {agent}")
            key.task.add_done_callback(lambda _: self._on_end(agent, key))

    def interrupt(self, agent: AgentName) -> None:
        """Cancel what the agent's worker does now and start it again."""
        key = self._keys.get(agent)
        if key is not None and key.task is not None:
            key.interrupted = True
            key.dirty = True
            key.task.cancel()

    def depth(self) -> int:
        """Return how many agents have a worker."""
        return sum(key.task is not None for key in self._keys.values())

    def failures(self, agent: AgentName) -> int:
        """Return how often the agent's work failed in a row."""
        key = self._keys.get(agent)
        return key.failures if key else 0

    async def close(self) -> None:
        """Cancel every worker and timer, and wait for the workers."""
        self._closed = True
        for key in self._keys.values():
            if key.timer is not None:
                key.timer.cancel()
            if key.task is not None:
                key.task.cancel()
        tasks = [key.task for key in self._keys.values() if key.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, agent: AgentName, key: _Key) -> None:
        while key.dirty and not self._closed:
            key.dirty = False
            delay = await self._call(agent, key)
            if delay is not None and not key.dirty:
                self._schedule(agent, key, delay)

    def _on_end(self, agent: AgentName, key: _Key) -> None:
        key.task = None
        if key.dirty:
            self.add(agent)
        elif key.timer is None and not key.failures:
            self._keys.pop(agent, None)  # the agent may be gone for good

    async def _call(self, agent: AgentName, key: _Key) -> float | None:
        try:
            delay = await self._work(agent)
        except asyncio.CancelledError:
            if not key.interrupted or self._closed:
                raise
            key.interrupted = False
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
            return None
        except TransientError as error:
            self._on_error(agent, error)
            backoff = self._backoff(key)
            return backoff if error.retry_after is None else error.retry_after
        except HiveError as error:
            self._on_error(agent, error)
            return self._backoff(key)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_DESCRIPTOR:
                self._on_error(agent, disk_error(f"nothing is done for {agent} now", error))
            else:
                log.exception("reconciling %s failed", agent)
                self._on_error(agent, None)
            return self._backoff(key)
        key.failures = 0
        return delay

    def _backoff(self, key: _Key) -> float:
        key.failures += 1
        return float(min(self._cap, self._base * 2 ** min(key.failures - 1, 30)))

    def _schedule(self, agent: AgentName, key: _Key, delay: float) -> None:
        if key.timer is not None:
            key.timer.cancel()
        loop = asyncio.get_running_loop()
        key.timer = loop.call_later(max(0.0, delay), self._on_timer, agent, key)

    def _on_timer(self, agent: AgentName, key: _Key) -> None:
        key.timer = None
        self.add(agent)
