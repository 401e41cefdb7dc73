"""Hints that an agent may have changed, passed on to the loop."""

from __future__ import annotations

from collections.abc import Callable

from meta.names import AgentName


class Hints:
    """The hints of links and of the backend.

    They begin before there is a loop; the loop takes them once the daemon is started. A hint that is dropped does no
    harm, because the loop looks at all agents when it starts.
    """

    def __init__(self, on_hint: Callable[[], None] = lambda: None) -> None:
        """`on_hint` is called with each hint, also before there is a listener."""
        self._on_hint = on_hint
        self._listener: Callable[[AgentName], None] | None = None

    def __call__(self, agent: AgentName) -> None:
        """Pass on a hint: something about `agent` may have changed."""
        self._on_hint()
        if self._listener is not None:
            self._listener(agent)

    def listen(self, listener: Callable[[AgentName], None]) -> None:
        """Call `listener` with each hint from now on."""
        self._listener = listener
