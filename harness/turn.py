"""One turn: bounded in time, and every error becomes an outcome."""

from __future__ import annotations

import asyncio
import logging

from harness.runtimes.base import Runtime, Tools, TurnOutcome
from meta.errors import HiveError
from meta.wire.agent import MessageResponse

log = logging.getLogger(__name__)


async def take_turn(runtime: Runtime, message: MessageResponse, tools: Tools, seconds: float) -> TurnOutcome:
    """Return the outcome of the runtime's turn. It is not ok if the turn takes over `seconds` or raises an error."""
    try:
        async with asyncio.timeout(seconds):
            return await runtime.turn(message, tools)
    except TimeoutError:
        return TurnOutcome(ok=False, reason=f"it took longer than limits.turn_seconds = {seconds:g}")
    except HiveError as error:
        return TurnOutcome(ok=False, reason=error.summary)
    except Exception as error:
        log.exception("the runtime raised an unexpected error")
        return TurnOutcome(ok=False, reason=f"{type(error).__name__}: {error}")
