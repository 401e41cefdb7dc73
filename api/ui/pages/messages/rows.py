"""The rows of the page Messages, from what is stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from api.words.messages import readable
from api.words.texts import title
from meta.names import HIVE, OPERATOR, SYSTEM
from reconciler.messaging.broker import MessageRow
from reconciler.store.messages.text import BROADCAST_MARK

SHOWN = 600
"""Characters of a message that come with the page. The rest is fetched when it is opened."""

WORDS = {"waiting": "Unread", "in-flight": "In a turn", "done": "Done", "dead": "Dead"}
"""The state of a message, for people."""
CSS = {"in-flight": "run", "dead": "bad"}


@dataclass(frozen=True, slots=True)
class Letter:
    """One message, or the copies of one broadcast. `title` is one line of it, `text` its beginning.

    `more`: there is more than `text`. `copies`: how many inboxes of a `broadcast` it stands for. `css` is the class of
    its state `kind`. `hive`: hive itself sent it. `why`: why a dead letter was given up.
    """

    id: int
    sender: str
    recipient: str
    title: str
    text: str
    more: bool
    at: float
    kind: str
    css: str
    state_at: float | None
    copies: int
    broadcast: bool
    hive: bool
    why: str


def letters(rows: Iterable[MessageRow]) -> tuple[Letter, ...]:
    """Return messages as they are shown. Neighbours that are copies of one broadcast in one state become one."""
    return tuple(_letter(list(group)) for _, group in groupby(rows, _same))


def letter(row: MessageRow) -> Letter:
    """Return one message as it is shown."""
    return _letter([row])


def whole(row: MessageRow) -> str:
    """Return all of a message, for people."""
    return readable(row.sender, _body(row))


def answers_to(sender: str) -> str | None:
    """Return to whom an answer to `sender` goes; None if nobody reads one."""
    return None if sender in (SYSTEM, OPERATOR, HIVE) or ":" in sender else sender


def _same(row: MessageRow) -> object:
    return (row.sender, row.at, row.body, row.state) if row.broadcast else row.id


def _letter(rows: list[MessageRow]) -> Letter:
    row = rows[0]
    text = whole(row)
    return Letter(
        id=row.id,
        sender=row.sender,
        recipient="all" if len(rows) > 1 else row.recipient,
        title=title(text),
        text=text[:SHOWN],
        more=row.cut or len(text) > SHOWN,
        at=float(row.at),
        kind=WORDS[row.state],
        css=CSS.get(row.state, ""),
        state_at=None if row.state_at is None else float(row.state_at),
        copies=len(rows),
        broadcast=row.broadcast,
        hive=row.sender == SYSTEM,
        why=_why(row) if row.state == "dead" else "",
    )


def _body(row: MessageRow) -> str:
    return row.body.removeprefix(BROADCAST_MARK) if row.broadcast else row.body


def _why(row: MessageRow) -> str:
    if not row.attempts:
        return "It was never handed out"
    times = "once" if row.attempts == 1 else f"{row.attempts} times"
    return f"It was handed out {times} and never acknowledged"
