"""One HTTP request to `/mcp`, with the facts that the tools need."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from api.operations.base import Call
from meta.errors import HiveError

STATE_KEY = "hive.request"
"""The key of the McpRequest in the ASGI scope's state."""


@dataclass(slots=True, eq=False)
class McpRequest:
    """A request that is being answered.

    `cancelled` is set when the peer disconnects or cancels, and when the daemon ends. `request_id` is the peer's id of
    the request. `error` is the answer to the call if the body was not read.
    """

    call: Call
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    request_id: int | str | None = None
    error: HiveError | None = None

    async def finish(self, written: bool) -> None:
        """Run the callbacks in `call.after` with True if the answer was written, else with False."""
        while self.call.after:
            await self.call.after.pop()(written)
