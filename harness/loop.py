"""The loop: take a message, do the turn, acknowledge it. It pauses between turns if hive requests a drain.

A turn that is not ok is not acknowledged. Its message is requeued. hive counts that as a failed turn, and puts the
message aside as a dead letter after some of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from harness.connect import Backoff
from harness.gate import Gate
from harness.inbox import Inbox
from harness.runtimes.base import Ending, TurnOutcome
from meta.errors import HiveError
from meta.wire.agent import MessageResponse
from meta.wire.link import TurnState

log = logging.getLogger(__name__)

DRAIN_GRACE = 1.0
"""Seconds to wait for the answer to an open `recv` after hive requested a drain."""

_ENDED = TurnOutcome(Ending.CRASHED, "hive ended it, because it took too long")
Turn = Callable[[MessageResponse], Coroutine[Any, Any, TurnOutcome]]


class Loop:
    """The loop over one inbox, one turn at a time."""

    def __init__(self, inbox: Inbox, gate: Gate, turn: Turn) -> None:
        self._inbox = inbox
        self._gate = gate
        self._turn = turn

    async def run(self) -> None:
        """Run until cancelled. A cancelled turn is not acknowledged: its message comes again at the next boot."""
        backoff = Backoff()
        while True:
            await self._wait_while_draining()
            try:
                message = await self._next()
            except HiveError as error:
                log.info("recv: %s", error.summary)
                await backoff.wait()
                continue
            backoff.reset()
            if message is not None:
                await self._handle(message)

    async def _wait_while_draining(self) -> None:
        if self._gate.draining:
            self._gate.set(TurnState.DRAINED)
            log.info("drained")
            await self._gate.wait_open()
        self._gate.set(TurnState.IDLE)

    async def _next(self) -> MessageResponse | None:
        """Return the next message.

        Return None if there is none, or if hive requests a drain before it answers the `recv`.
        """
        recv = asyncio.ensure_future(self._inbox.recv())
        closed = asyncio.ensure_future(self._gate.wait_closed())
        try:
            await asyncio.wait({recv, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not recv.done():
                await asyncio.wait({recv}, timeout=DRAIN_GRACE)
            return recv.result() if recv.done() else None
        finally:
            for task in (recv, closed):
                task.cancel()
            await asyncio.gather(recv, closed, return_exceptions=True)

    async def _handle(self, message: MessageResponse) -> None:
        self._gate.set(TurnState.THINKING)
        again = ", delivered before" if message.redelivered else ""
        log.info("turn on message %d from %r, %d characters%s", message.id, message.sender, len(message.body), again)
        outcome = await self._gate.run(self._turn(message)) or _ENDED
        try:
            await self._finish(message, outcome)
        except HiveError as error:
            log.warning("hive did not accept the acknowledgement of message %d: %s", message.id, error.summary)

    async def _finish(self, message: MessageResponse, outcome: TurnOutcome) -> None:
        if not outcome.ok:
            log.warning("turn on message %d failed: %s", message.id, outcome.reason)
            self._inbox.requeue()
            return
        log.info("turn on message %d is done", message.id)
        await self._inbox.ack()
