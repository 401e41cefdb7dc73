"""The ends of sessions, for the streams that are open in them."""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakValueDictionary

REMEMBERED = 1_000
"""Ends that are remembered: a session may end between its reading and its stream."""


class Ends:
    """One event for each session that has a stream. It is kept while a stream holds it."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[int, asyncio.Event] = WeakValueDictionary()
        self._ended: deque[int] = deque(maxlen=REMEMBERED)

    def of(self, id: int) -> asyncio.Event:
        """Return the event of a session, which is set when it ends. It is set already if that was a moment ago."""
        event = self._events.setdefault(id, asyncio.Event())
        if id in self._ended:  # since it was read
            event.set()
        return event

    def end(self, id: int) -> None:
        """Set the event of a session that has ended."""
        self._ended.append(id)
        if (event := self._events.get(id)) is not None:
            event.set()
