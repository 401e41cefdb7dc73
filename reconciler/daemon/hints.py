"""Hints that an agent may have changed, from those that notice to the loop."""

from __future__ import annotations

from collections.abc import Callable

from meta.names import AgentName


class Hints:
    """Links and the backend give hints before there is a loop, and it takes none before the daemon is started.

    A hint that is dropped is no loss: the loop looks at all agents when it starts.
    """

    def __init__(self) -> None:
        self._listener: Callable[[AgentName], None] | None = None

    def __call__(self, agent: AgentName) -> None:
        """Something about `agent` may have changed."""
        if self._listener is not None:
            self._listener(agent)

    def listen(self, listener: Callable[[AgentName], None]) -> None:
        """Call `listener` with each hint from now on."""
        self._listener = listener
