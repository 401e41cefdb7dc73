"""One HTTP request to `/mcp`, as the tools need to know it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from api.operations.base import Call
from meta.errors import HiveError

VISIT = "hive.visit"
"""Its place in the ASGI scope's state."""


@dataclass(slots=True, eq=False)
class Visit:
    """`gone` is set once nobody waits for the answer any more; `request_id` is what the peer calls the request.

    With a `refusal` the request was not read: it is the answer, whatever the call.
    """

    call: Call
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    request_id: int | str | None = None
    refusal: HiveError | None = None

    async def settle(self, written: bool) -> None:
        """Tell those who asked to know whether the answer was written."""
        while self.call.after:
            await self.call.after.pop()(written)
