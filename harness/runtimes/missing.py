"""In place of a runtime that could not be made. It never takes a turn: the agent is parked, with the remedy."""

from __future__ import annotations

from harness.runtimes.base import Capabilities, Compacted, Ending, Sink, TurnOutcome, TurnRequest
from meta.errors import HiveError


class MissingRuntime:
    """The runtime `name`, which cannot run because of `error`."""

    capabilities = Capabilities(resume=False, inject=False, compact=False, login=False, cost=False, context=False)
    default_model = ""

    def __init__(self, name: str, error: HiveError) -> None:
        self.name = name
        self._error = error

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Return that the message has to wait."""
        return TurnOutcome(Ending.PARKED, self._error.summary)

    async def inject(self, text: str) -> bool:
        """Return False."""
        return False

    async def interrupt(self) -> None:
        """Do nothing."""

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Return None."""
        return None

    async def version(self) -> str:
        """Raise the error."""
        raise self._error

    async def close(self) -> None:
        """Do nothing."""
