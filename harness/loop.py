"""The turn loop: one message is one turn; between two turns the harness can be drained."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.inbox import Inbox
from harness.link import Link
from harness.runtimes.base import Message, Runtime
from meta.errors import HiveError, Refused
from meta.wire.link import TurnState

if TYPE_CHECKING:
    from harness.worktree import WorkTrees

log = logging.getLogger(__name__)

SILENT = frozenset({"system", "reminder"})
"""Senders that read no answers."""


class TurnLoop:
    """Takes messages while the link is open, and acknowledges each once its turn is over."""

    def __init__(
        self,
        link: Link,
        inbox: Inbox,
        runtime: Runtime,
        trees: WorkTrees,
        recipients: Sequence[str],
        turn_seconds: float,
    ) -> None:
        self._link = link
        self._inbox = inbox
        self._runtime = runtime
        self._trees = trees
        self._recipients = frozenset(recipients)
        self._turn_seconds = turn_seconds

    async def run(self) -> None:
        """Take turns until cancelled. Nothing is asked for before hive knows who this is."""
        while True:
            self._link.become(TurnState.DRAINED if self._link.draining else TurnState.IDLE)
            await self._link.opened.wait()
            if self._link.draining:
                continue
            self._link.become(TurnState.IDLE)
            message = await self._next()
            if message is not None:
                self._link.become(TurnState.THINKING)
                await self._turn(message)
                await self._acknowledge()

    async def _next(self) -> Message | None:
        """The next message, or None as soon as the link closes. One that came at that moment is still taken."""
        poll = asyncio.create_task(self._inbox.receive())
        closing = asyncio.create_task(self._link.closed.wait())
        try:
            await asyncio.wait((poll, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            poll.cancel()
            closing.cancel()
            await asyncio.wait((poll, closing))
        return None if poll.cancelled() else poll.result()

    async def _turn(self, message: Message) -> None:
        again = ", again" if message.redelivered else ""
        log.info("message %d from %s%s: %d characters", message.id, message.sender, again, len(message.body))
        tools = _Tools(self._inbox, self._trees, message, self._recipients)
        try:
            async with asyncio.timeout(self._turn_seconds):
                outcome = await self._runtime.turn(message, tools)
        except TimeoutError:
            await self._failed(message, f"the turn took longer than {self._turn_seconds:g} s and was ended")
        except HiveError as error:
            await self._failed(message, f"{error.summary}{f' ({error.hint})' if error.hint else ''}")
        else:
            log.info("turn over: %s", outcome.summary)

    async def _failed(self, message: Message, why: str) -> None:
        """Tell the operator; never another agent, whose answer could fail in turn, without an end."""
        log.warning("turn failed: %s", why)
        if message.sender == "operator":
            try:
                await self._inbox.send("operator", f"error: {why}")
            except HiveError as error:
                log.warning("the operator could not be told: %s", error)

    async def _acknowledge(self) -> None:
        try:
            await self._inbox.acknowledge()
        except HiveError as error:
            log.warning("the turn is not acknowledged, its message will come again: %s", error)


class _Tools:
    """What one turn may do; see runtimes/base.py."""

    def __init__(self, inbox: Inbox, trees: WorkTrees, message: Message, recipients: frozenset[str]) -> None:
        self._inbox = inbox
        self._trees = trees
        self._sender = message.sender
        self._recipients = recipients

    async def send(self, to: str, body: str) -> None:
        if not self._recipients & {"*", to}:
            raise Refused(f"agent.toml does not allow messages to {to}", f"add {to!r} to `recipients`")
        await self._inbox.send(to, body)

    async def reply(self, body: str) -> None:
        if self._sender not in SILENT:
            await self._inbox.send(self._sender, body)

    async def commit(self, agent: str, file: str, content: str, message: str) -> str:
        return await self._trees.commit(agent, file, content, message)

    async def request(self, agent: str, description: str) -> str:
        sha = await self._trees.head(agent)
        await self._inbox.request_apply_commit(agent, sha, description)
        return sha
