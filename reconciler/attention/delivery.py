"""The delivery of one notification to a target, one at a time, within bounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from meta.errors import HiveError, TransientError
from meta.process.run import ProcessTimeout, Streams, run
from meta.text import one_line
from reconciler.attention.message import Notification
from reconciler.attention.post import DEADLINE, Answer, Poster
from reconciler.attention.target import HIDDEN, Address, Command, Ntfy, Target, Webhook

OUTPUT_BYTES = 64 * 1024
"""Bytes that a command may write. What it writes is not read by anybody."""
_SHOWN = 200
_SECRET_LENGTH = 4
"""Parts of an address with fewer characters are no secrets."""


class NotDelivered(TransientError):
    """The target did not take a notification. The text has no part of the target that may be secret."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came back from a target: `answer` in words, and the beginning of its text."""

    answer: str
    text: str = ""


class Delivery:
    """Delivers to one target."""

    def __init__(self, target: Target, deadline: float = DEADLINE) -> None:
        self.target = target
        self._deadline = deadline
        self._poster = Poster(deadline)
        self._one = asyncio.Lock()

    async def send(self, notification: Notification) -> Delivered:
        """Deliver one notification. Raise NotDelivered if the target did not take it, or did not answer in time."""
        async with self._one:
            match self.target:
                case Webhook(address):
                    return self._judge(await self._post(address, notification.as_json()))
                case Ntfy(address, topic):
                    return self._judge(await self._post(address, notification.for_ntfy(topic)))
                case Command(argv):
                    return await self._run(argv, notification.as_json())

    async def _post(self, address: Address, body: bytes) -> Answer:
        try:
            return await self._poster.post(address, body)
        except TransientError as error:
            raise NotDelivered(f"{self.target.name}: {error.summary}", error.hint) from error

    def _judge(self, answer: Answer) -> Delivered:
        text = self._hide(one_line(answer.body.decode(errors="replace"), _SHOWN))
        if 200 <= answer.status < 300:
            return Delivered(f"HTTP {answer.status}", text)
        moved = ", and hive follows no redirect" if 300 <= answer.status < 400 else ""
        raise NotDelivered(f"{self.target.name} answered HTTP {answer.status}{moved}", "look at HIVE_NOTIFY")

    async def _run(self, argv: tuple[str, ...], body: bytes) -> Delivered:
        # No recorder: its records and its log would show the arguments.
        name = self.target.name
        try:
            streams = Streams(stdin=body, output_limit=OUTPUT_BYTES)
            ended = await run(argv, deadline=self._deadline, streams=streams, check=False)
        except ProcessTimeout:
            raise NotDelivered(f"{name} did not end within {self._deadline:g} s", "let it end sooner") from None
        except HiveError:  # the text has the arguments
            raise NotDelivered(f"{name} cannot be started, or writes too much", "run it by hand") from None
        if ended.code != 0:
            raise NotDelivered(f"{name} ended with code {ended.code}", "run it by hand with JSON on stdin")
        return Delivered("exit code 0")

    def _hide(self, text: str) -> str:
        """Return `text` without the parts of the address that may be secret, if the server repeats them."""
        match self.target:
            case Webhook(address):
                secrets = {address.path, *address.parts}
            case Ntfy(address, topic):
                secrets = {topic, *address.parts}
            case _:
                return HIDDEN
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN) if len(secret) >= _SECRET_LENGTH else text
        return text
