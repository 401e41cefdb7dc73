"""The rows of passkeys, checked against the chained events of their addition and removal. Pure.

A row can be written by whoever can write the database's file. So what the events say counts, as far back as they go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.store.events.log import EventRow
from reconciler.store.passkeys import Passkey
from reconciler.upkeep.audit.rules import FAULT, NOTE, Finding

RULE = "passkey"
ADDED, REMOVED = "passkey_added", "passkey_removed"


@dataclass(frozen=True, slots=True)
class Known:
    """The passkeys of a database, by id, also removed ones. `uuid` is the database's.

    `rps` has the relying party by the id of a passkey, `origins` each origin at which one was added.
    """

    uuid: str
    passkeys: Mapping[str, Passkey]
    rps: Mapping[str, str] = field(default_factory=dict)
    origins: frozenset[str] = frozenset()


def known_passkeys(uuid: str, passkeys: Iterable[Passkey], registrations: Iterable[EventRow]) -> Known:
    """Return the passkeys as their rows have them, with the times of their events where there are events."""
    rows = {each.id: each for each in passkeys}
    rps: dict[str, str] = {}
    origins: set[str] = set()
    for event in registrations:
        id = _text(event, "id")
        if event.kind == ADDED:
            rps |= {id: _text(event, "rp")} if _text(event, "rp") else {}
            origins |= {_text(event, "origin")} - {""}
        if (row := rows.get(id)) is None:
            continue
        at = int(event.at)
        if event.kind == ADDED:
            rows[id] = replace(row, added_at=max(row.added_at, at))
        else:
            rows[id] = replace(row, removed_at=at if row.removed_at is None else min(row.removed_at, at))
    return Known(uuid, rows, rps, frozenset(origins))


def passkey_findings(passkeys: Iterable[Passkey], registrations: Iterable[EventRow], since: float) -> Iterator[Finding]:
    """Check rows and events against each other. `since`: the time of the oldest event, 0 if none was pruned."""
    rows = {each.id: each for each in passkeys}
    events: dict[str, dict[str, EventRow]] = {ADDED: {}, REMOVED: {}}
    for event in registrations:
        events[event.kind].setdefault(_text(event, "id"), event)
        if _text(event, "id") not in rows:
            yield _fault(f"event {event.n} is of the passkey {_text(event, 'id')[:20]}, which is gone")
    for id, row in rows.items():
        yield from _addition(row, events[ADDED].get(id), since)
        yield from _removal(row, events[REMOVED].get(id), since)


def _addition(row: Passkey, event: EventRow | None, since: float) -> Iterator[Finding]:
    name = f"the passkey {row.id[:20]} of {row.owner}"
    if event is None and row.added_at >= since:
        yield _fault(f"{name} was added without an event: hive did not add it")
    elif event is None:
        yield Finding(NOTE, RULE, None, None, f"{name} is older than the events that are kept")
    elif (hashlib.sha256(row.key).hexdigest(), row.owner) != (_text(event, "key"), _text(event, "owner")):
        yield _fault(f"{name} is not the one that event {event.n} added for {_text(event, 'owner')}")
    elif row.added_at != int(event.at):
        yield _fault(f"{name} has another time of its addition than event {event.n}")


def _removal(row: Passkey, event: EventRow | None, since: float) -> Iterator[Finding]:
    name = f"the passkey {row.id[:20]} of {row.owner}"
    if event is None and row.removed_at is not None and row.removed_at >= since:
        yield _fault(f"{name} was removed without an event: hive did not remove it")
    elif event is not None and row.removed_at is None:
        yield _fault(f"{name} is there again, after event {event.n} removed it")
    elif event is not None and row.removed_at != int(event.at):
        yield _fault(f"{name} has another time of its removal than event {event.n}")


def _fault(text: str) -> Finding:
    return Finding(FAULT, RULE, None, None, text)


def _text(event: EventRow, name: str) -> str:
    return str(event.data.get(name) or "")
