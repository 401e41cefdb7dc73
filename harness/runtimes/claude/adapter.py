"""The runtime of the `claude` CLI."""

from __future__ import annotations

from harness.runtimes.base import Capabilities, Compacted, RuntimeSpec, Sink, TurnOutcome, TurnRequest


class ClaudeRuntime:
    """A long-lived process of the CLI, which does one turn after another."""

    name = "claude"
    capabilities = Capabilities(resume=True, inject=True, compact=True, login=True, cost=True, context=True)

    def __init__(self, spec: RuntimeSpec) -> None:
        self._spec = spec

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do one turn."""
        raise NotImplementedError

    async def inject(self, text: str) -> bool:
        """Give the model a text within the running turn."""
        raise NotImplementedError

    async def interrupt(self) -> None:
        """Ask the CLI to stop its turn."""

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Compact the conversation."""
        raise NotImplementedError

    async def version(self) -> str:
        """Return the CLI's version."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the process with every descendant."""
