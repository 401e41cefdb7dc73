"""Lines to harnesses, sent without waiting: one that does not read holds nothing up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from meta.wire.link import DownLine
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)

SEND_DEADLINE = 5.0


class Sender:
    """Sends in the background, until it is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, peer: LinkPeer, *lines: DownLine) -> None:
        """Send lines in this order, without waiting."""
        self.start(self.deliver(peer, *lines))

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Do something in the background that ends in lines to a harness."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(self, peer: LinkPeer, *lines: DownLine) -> None:
        """Send lines in this order. What a harness does not read within SEND_DEADLINE is not sent."""
        try:
            for line in lines:
                async with asyncio.timeout(SEND_DEADLINE):
                    await peer.send(line)
        except (TimeoutError, OSError) as error:
            log.info("a line to a harness was not delivered: %s", error, extra={"limited": "lines to harnesses"})

    async def close(self) -> None:
        """Cancel what is still being sent."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
