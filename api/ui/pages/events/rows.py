"""The rows of the page Events: each event as a sentence. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from api.ui.pages.events.kinds import BAD, WARN
from api.words.events import sentence
from reconciler.views import Event

SENTENCE = 400
"""Characters of a sentence that are shown."""
DATA = 600
"""Characters of an event's data that are shown. The export has all of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event. `number` is its place in the sequence, `data` its JSON. `css` is the class of bad news."""

    number: str
    at: float
    agent: str
    kind: str
    text: str
    css: str
    data: str


def rows_of(events: Iterable[Event]) -> tuple[Row, ...]:
    """Return events as rows, the newest first. `events` are oldest first, as the operation returns them."""
    return tuple(_row(event) for event in reversed(list(events)))


def _row(event: Event) -> Row:
    text = sentence(event.kind, {"data": event.data})
    data = json.dumps(event.data, ensure_ascii=False, indent=1)
    return Row(
        number=event.seq.rpartition("-")[2],
        at=event.at,
        agent=event.agent or "",
        kind=event.kind,
        text=text[:SENTENCE] + ("…" if len(text) > SENTENCE else ""),
        css="bad" if event.kind in BAD else "warn" if event.kind in WARN else "",
        data=data[:DATA] + ("…" if len(data) > DATA else ""),
    )
