"""The messages that were received and not acknowledged yet: which are done, which hive gets back, and how.

Every message passes here on its way to the model, so that one place knows which of them the model never saw.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from harness.pod.requests import Requests
from harness.retry import Action
from meta.errors import HiveError
from meta.wire.agent import MessageResponse

log = logging.getLogger(__name__)


class Returns(Protocol):
    """Gives messages back to hive without a failed turn (harness.link)."""

    @property
    def by_id(self) -> bool:
        """Return True if hive gives back single messages of a turn."""

    async def release(self, turn: int, only: tuple[int, ...] | None = None) -> bool:
        """Give back the messages of this turn, or those with these ids. Return False if hive does not know that."""


class Messages(Protocol):
    """Where messages of hive come from (harness.inbox)."""

    @property
    def uncertain(self) -> bool:
        """Return True if a message may be in flight that was not received."""

    async def recv(self) -> MessageResponse | None:
        """Return a message, or None if none came for a while. Raise HiveError."""

    async def look(self) -> MessageResponse | None:
        """Return one more message, which is in flight then. Raise HiveError."""

    async def unread(self) -> int | None:
        """Return how many messages wait; None if nobody says so soon."""

    async def ack(self) -> None:
        """Acknowledge everything in flight. Raise HiveError."""

    async def give_back(self) -> None:
        """Requeue what is in flight, as a failed turn. Raise HiveError."""

    def released(self) -> None:
        """Record that hive took back everything in flight."""


class InFlight:
    """The messages in flight. `turn` is always the number of the latest turn."""

    def __init__(self, inbox: Messages, returns: Returns, requests: Requests) -> None:
        self._inbox = inbox
        self._returns = returns
        self._requests = requests
        self._held = 0
        """Messages of hive that are in flight."""
        self._unseen: set[int] = set()
        """The messages that were given back before the model saw them."""

    @property
    def uncertain(self) -> bool:
        """Return True if a message may be in flight that was not received: then nothing may be acknowledged."""
        return self._inbox.uncertain

    @property
    def separable(self) -> bool:
        """Return True if hive takes back some messages and leaves others in flight."""
        return self._returns.by_id

    async def unread(self) -> int | None:
        """Return how many messages wait, or None if hive does not answer soon."""
        return await self._inbox.unread()

    async def recv(self) -> MessageResponse | None:
        """Return a message, or None if none came for a while. Raise HiveError if the connection broke."""
        message = await self._inbox.recv()
        if message is not None and self._requests.was_given_up(message):
            await self._inbox.ack()
            return None
        return self._receive(message)

    def take(self) -> MessageResponse | None:
        """Return the message of a run that a client of the pod asked for. Nothing of hive is in flight."""
        return self._requests.take()

    async def look(self) -> MessageResponse | None:
        """Return one more message, which is in flight then. None: there is none, or hive does not answer."""
        try:
            message = await self._inbox.look()
        except HiveError as error:
            log.info("looking for another message: %s", error.summary)
            return None
        return self._receive(message)

    async def exchange(self, turn: int, message: MessageResponse) -> MessageResponse | None:
        """Give this one back, and return another one, if hive has one. Nothing else is in flight."""
        if not await self._returns.release(turn, (message.id,)):
            return message
        self._held -= 1
        self._remember((message,))
        return await self.look()

    async def separate(self, turn: int, others: tuple[MessageResponse, ...]) -> bool:
        """Give these back, and leave in flight what the turn was about. Return False if hive cannot do that."""
        if not await self._returns.release(turn, tuple(other.id for other in others)):
            return False
        self._held -= len(others)
        self._remember(others)
        return True

    async def settle(self, turn: int, action: Action, others: Iterable[MessageResponse]) -> None:
        """Acknowledge all in flight, or give it back. The model did not see `others`, unless they say so."""
        if not self._held:
            return
        try:
            match action:
                case Action.ACKNOWLEDGE if not self.uncertain:
                    await self._inbox.ack()
                case Action.ACKNOWLEDGE | Action.RELEASE:
                    await self.release(turn, others)
                case Action.COUNT:
                    await self._inbox.give_back()
            self._held = 0
        except HiveError as error:
            log.warning("hive did not accept the end of turn %d: %s", turn, error.summary)

    async def release(self, turn: int, unseen: Iterable[MessageResponse]) -> None:
        """Give everything back. An older hive does not know that: it counts a failed turn."""
        self._remember(unseen)
        if not self._held:
            return
        self._held = 0
        if await self._returns.release(turn):
            self._inbox.released()
            return
        log.warning("hive does not take messages back over the link: it counts a failed turn")
        try:
            await self._inbox.give_back()
        except HiveError as error:
            log.warning("hive did not take the messages back: %s", error.summary)

    def _receive(self, message: MessageResponse | None) -> MessageResponse | None:
        """Return a message as the model is to see it: one that it never saw does not count as delivered before."""
        if message is None:
            return None
        self._held += 1
        if message.id not in self._unseen:
            return message
        self._unseen.discard(message.id)
        return message.model_copy(update={"redelivered": False})

    def _remember(self, messages: Iterable[MessageResponse]) -> None:
        self._unseen.update(message.id for message in messages if not message.redelivered)
