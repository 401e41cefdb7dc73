"""One turn: bounded in time, and every error becomes an outcome."""

from __future__ import annotations

import asyncio
import logging

from harness.runtimes.base import Ending, Runtime, Sink, TurnOutcome, TurnRequest
from meta.errors import HiveError

log = logging.getLogger(__name__)


async def take_turn(runtime: Runtime, request: TurnRequest, sink: Sink, seconds: float) -> TurnOutcome:
    """Return the outcome of the runtime's turn. It is `crashed` if the turn takes over `seconds` or raises an error."""
    try:
        async with asyncio.timeout(seconds):
            return await runtime.turn(request, sink)
    except TimeoutError:
        return TurnOutcome(Ending.CRASHED, f"it took longer than limits.turn_seconds = {seconds:g}")
    except HiveError as error:
        return TurnOutcome(Ending.CRASHED, error.summary)
    except Exception as error:
        log.exception("the runtime raised an unexpected error")
        return TurnOutcome(Ending.CRASHED, f"{type(error).__name__}: {error}")
