"""The rows of the list: each row of the attention list with its words, its colour, and whether it stands open. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from api.ui.pieces import Piece, prose
from meta.names import AgentName
from reconciler.attention.row import Row, Severity

OPENED = frozenset({"proposal", "question"})
OPEN_MOST = 2
"""Rows of these kinds that stand open without being asked for: the first ones."""
KINDS: Mapping[str, str] = {
    "proposal": "Approval",
    "stale-proposal": "Approval",
    "question": "Question",
    "network-request": "Host",
    "agent-needs-login": "Login",
    "dead-letter": "Dead letter",
    "refused-push": "Refused",
    "deploy-failed": "Deploy",
    "rollout-failed": "Update",
    "messages": "Messages",
    "agent-over-budget": "Budget",
    "disk-full": "Disk",
    "agent-over-disk": "Disk",
    "way-out": "Way out",
}
"""The first word of a row by its kind. The others are alarms: of an agent, or of hive."""
_AGENT = "agent-"


@dataclass(frozen=True, slots=True)
class Item:
    """One row as it is shown. `id` begins the ids of its parts; that of the row itself is `row-<key>`.

    `css` is the colour of its urgency and `urgency` the same in a word. `open`: its body stands in the page; else it
    comes from `href` when it is opened, and `page` is the whole page with it open.
    """

    key: str
    id: str
    kind: str
    label: str
    css: str
    urgency: str
    title: tuple[Piece, ...]
    since: float
    agent: AgentName | None
    href: str
    page: str
    open: bool


_URGENCY: Mapping[Severity, tuple[str, str]] = {
    Severity.CRITICAL: ("bad", "Urgent"),
    Severity.HIGH: ("bad", "Urgent"),
    Severity.NORMAL: ("warn", "Waiting"),
    Severity.LOW: ("", "Later"),
}


def items(rows: Sequence[Row], *, asked: str = "", split: bool = False) -> tuple[Item, ...]:
    """Return the rows as items. The one with the key `asked` stands open, and the first ones that ask for a decision.

    `split` is the layout of diffs that the links go on with.
    """
    first = [row.key for row in rows if row.kind in OPENED][:OPEN_MOST]
    return tuple(_item(row, split=split, open=row.key == asked or row.key in first) for row in rows)


def item_of(row: Row, *, split: bool = False) -> Item:
    """Return one row as an item that stands open."""
    return _item(row, split=split, open=True)


def id_of(key: str) -> str:
    """Return what the ids of a row's parts begin with."""
    return f"r{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def _item(row: Row, *, split: bool, open: bool) -> Item:
    css, urgency = _URGENCY[row.severity]
    more = {"split": "1"} if split else {}
    return Item(
        key=row.key,
        id=id_of(row.key),
        kind=row.kind,
        label=KINDS.get(row.kind, "Agent" if row.kind.startswith(_AGENT) else "Alarm"),
        css=css,
        urgency=urgency,
        title=tuple(_title(row)),
        since=row.since,
        agent=row.agent,
        href=f"/needs-you/row?{urlencode({'key': row.key, **more})}",
        page=f"/?{urlencode({'row': row.key, **more})}",
        open=open,
    )


def _title(row: Row) -> Iterator[Piece]:
    """Yield the words of a row: what an agent wrote if that says more than hive's own words do."""
    if row.agent is not None and row.detail and row.kind in ("proposal", "question"):
        yield Piece(row.agent, "b")
        yield from prose(f"{' asks' if row.kind == 'question' else ''}: {row.detail}")
        return
    if row.agent is not None and (words := tuple(_told(row, row.agent))):
        yield from words
        return
    is_name = row.agent is not None and row.title.startswith(row.agent)
    yield from named(row.title if is_name else row.title[:1].upper() + row.title[1:], row.agent)


def _told(row: Row, agent: AgentName) -> Iterator[Piece]:
    """Yield a row's words with what its title must not have, since titles are sent away: a host, a reason, a sender.

    Yield nothing if the detail does not say it.
    """
    said, _, _ = row.detail.rpartition("; `")
    if row.kind == "network-request" and (host := said.partition(", it says: ")[0]):
        yield from (Piece(agent, "b"), Piece(" asks for "), Piece(host, "code"))
    elif row.kind == "deploy-failed" and said:
        yield from named(f"{row.title[:1].upper()}{row.title[1:]}: ", agent)
        yield Piece(said.partition(" its last lines:")[0])
    elif row.kind == "dead-letter" and said.startswith("from "):
        before, name, after = row.title.rpartition(f" to {agent} ")
        yield Piece(f"{before[:1].upper()}{before[1:]} {said}{name[: -len(agent) - 1]}")
        yield from (Piece(agent, "b"), Piece(f" {after}"))


def named(text: str, agent: AgentName | None) -> Iterator[Piece]:
    """Yield a text of hive's own words, with the agent's name set apart where it stands as a word."""
    parts = [text] if agent is None else re.split(rf"(?<![\w-]){re.escape(agent)}(?![\w-])", text, maxsplit=1)
    for place, part in enumerate(parts):
        if place and agent is not None:
            yield Piece(agent, "b")
        if part:
            yield Piece(part)
