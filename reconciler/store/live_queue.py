"""The live events that wait in memory to be written: bounded for all agents together, and fair to each."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from meta.names import AgentName

ROWS = 4_096
BYTES = 16 * 2**20
"""What waits at most, for all agents together. The agent with the most of it loses its oldest rows."""


class LiveRow(NamedTuple):
    """One event. `seq` counts what came from all agents; `log` and `id` are the harness's; `text` is a line of JSON."""

    seq: int
    agent: AgentName
    log: str
    id: int
    ts: int
    text: str

    @property
    def position(self) -> str:
        """Return the name of this place in the agent's events."""
        return f"{self.log}-{self.id}"


@dataclass(slots=True)
class _Waiting:
    """What waits of one agent. `gap`: the note in place of the rows that were dropped, which `missing` counts."""

    rows: deque[LiveRow] = field(default_factory=deque)
    bytes: int = 0
    gap: LiveRow | None = None
    missing: int = 0

    def all(self) -> list[LiveRow]:
        """Return the note and the rows, oldest first."""
        return [*([self.gap] if self.gap is not None else []), *self.rows]


class LiveQueue:
    """The rows that wait, in the order in which they came. For one thread at a time."""

    def __init__(self) -> None:
        self._agents: dict[AgentName, _Waiting] = {}
        self._rows = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, row: LiveRow) -> None:
        """Add the newest row. If too many wait, a note takes the place of the oldest of the agent that has the most."""
        waiting = self._agents.setdefault(row.agent, _Waiting())
        waiting.rows.append(row)
        waiting.bytes += len(row.text)
        self._rows += 1
        self._bytes += len(row.text)
        while self._rows > ROWS:
            self._lose(max(self._agents.values(), key=lambda each: len(each.rows)))
        while self._bytes > BYTES:
            self._lose(max(self._agents.values(), key=lambda each: each.bytes))

    def all(self) -> list[LiveRow]:
        """Return the rows of all agents, and the notes, oldest first."""
        return sorted(row for waiting in self._agents.values() for row in waiting.all())

    def of(self, agent: AgentName) -> list[LiveRow]:
        """Return the rows of one agent, and the note in place of those that were dropped, oldest first."""
        waiting = self._agents.get(agent)
        return waiting.all() if waiting is not None else []

    def drop_until(self, seq: int) -> None:
        """Drop what is written: the rows and notes up to `seq`."""
        for agent, waiting in list(self._agents.items()):
            if waiting.gap is not None and waiting.gap.seq <= seq:
                waiting.gap, waiting.missing = None, 0
            while waiting.rows and waiting.rows[0].seq <= seq:
                self._pop(waiting)
            if not waiting.all():
                del self._agents[agent]

    def forget(self, agent: AgentName) -> None:
        """Drop all of an agent."""
        waiting = self._agents.pop(agent, _Waiting())
        self._rows -= len(waiting.rows)
        self._bytes -= waiting.bytes

    def _lose(self, waiting: _Waiting) -> None:
        row = self._pop(waiting)
        waiting.missing += 1
        text = f"{waiting.missing} events before the next one are missing: hive could not keep them"
        waiting.gap = row._replace(text=json.dumps({"kind": "note", "text": text}, separators=(",", ":")))

    def _pop(self, waiting: _Waiting) -> LiveRow:
        row = waiting.rows.popleft()
        waiting.bytes -= len(row.text)
        self._rows -= 1
        self._bytes -= len(row.text)
        return row
