"""Messages that arrive during a turn: they reach the model in it, if the runtime can.

A message that was taken is never lost and never acknowledged unseen: if the model did not get it, or may not have got
it, it is `left`, and it gets a turn before anything is acknowledged. So nothing is taken before hive says that
something waits, and what was asked for is awaited, not cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from harness.in_flight import InFlight
from harness.runtimes.base import Runtime
from meta.errors import HiveError
from meta.wire.agent import MessageResponse

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between two looks into the inbox."""
INJECTED = 32
"""Messages that one turn takes, at most: the others get turns of their own."""


class Mail:
    """The messages of one turn, beside the one that began it. `on_injected` is called with each that got in."""

    def __init__(
        self,
        in_flight: InFlight,
        runtime: Runtime,
        text: Callable[[MessageResponse], str],
        on_injected: Callable[[MessageResponse], None],
    ) -> None:
        self._in_flight = in_flight
        self._runtime = runtime
        self._text = text
        self._on_injected = on_injected
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._late: MessageResponse | None = None
        self._injected: dict[str, MessageResponse] = {}
        self._dropped: set[str] = set()

    def start(self) -> None:
        """Begin to look, if the runtime can take messages within a turn."""
        if self._runtime.capabilities.inject:
            self._task = asyncio.create_task(self._look())

    def drop(self) -> None:
        """Count what was injected so far as unseen: the attempt that had it is done again without it."""
        self._dropped.update(self._injected)

    def left(self, unseen: Collection[str]) -> tuple[MessageResponse, ...]:
        """Return the messages that need a turn of their own, given the texts that the model may not have seen.

        These count as delivered before, because the model may have seen them after all.
        """
        again = [
            message.model_copy(update={"redelivered": True})
            for text, message in self._injected.items()
            if text in unseen or text in self._dropped
        ]
        return (*again, self._late) if self._late is not None else tuple(again)

    async def stop(self) -> None:
        """End the looking. Wait for the answer if a message was asked for."""
        self._over.set()
        if self._task is not None:
            await self._task

    async def cancel(self) -> None:
        """End the looking at once. What was asked for may be in flight then: acknowledge nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        for _ in range(INJECTED):
            if not await self._await_one():
                return
            message = await self._in_flight.look()
            if message is not None and not await self._inject(message):
                self._late = message
                return

    async def _await_one(self) -> bool:
        """Wait until a message waits. Return False if the turn ended before."""
        while not self._over.is_set():
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._over.wait()
            except TimeoutError:
                if await self._in_flight.unread():
                    return not self._over.is_set()
        return False

    async def _inject(self, message: MessageResponse) -> bool:
        if self._over.is_set():
            return False
        try:
            text = self._text(message)
            taken = await self._runtime.inject(text)
        except HiveError as error:
            log.info("the runtime does not take message %d: %s", message.id, error.summary)
            return False
        if taken:
            self._injected[text] = message
            self._on_injected(message)
        return taken
