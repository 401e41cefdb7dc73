"""What needs a person: the list, the rows that stand open, and what was decided in the last minutes."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from api.operations.attention import attention
from api.operations.base import Input, Nothing
from api.operations.questions import EndedInput, ended_questions
from api.operations.views import EventsInput, events
from api.ui.moment import Moment
from api.ui.page import Fragment, Page, Region, Room, Shown
from api.ui.pages.needs_you.acting import ACTIONS
from api.ui.pages.needs_you.bodies import Body, is_under_way, read_body, state_of
from api.ui.pages.needs_you.decided import KINDS, QUESTION_END, READ, decision_of, decisions
from api.ui.pages.needs_you.logging_in import LOGGING_IN
from api.ui.pages.needs_you.news import NEWS
from api.ui.pages.needs_you.rows import id_of, item_of, items
from api.ui.pages.needs_you.under_way import AGAIN, read_under_way
from reconciler.attention.row import Attention, Severity
from reconciler.messaging.questions import Question
from reconciler.views import Event

KEY_MOST = 600
ROWS_MOST = 100
"""Rows of the list at once. The others are one link away: a phone at night gets a small page."""


class ListInput(Input):
    """How the list is shown: which row stands open besides the first ones, diffs side by side, and the whole list."""

    row: str = Field("", max_length=KEY_MOST)
    all: bool = False
    split: bool = False


class RowInput(Input):
    """One row."""

    key: str = Field(max_length=KEY_MOST)
    split: bool = False


async def view(moment: Moment, asked: ListInput) -> Shown:
    """Return the list, with the bodies of the rows that stand open."""
    listed = await moment.ask(attention, Nothing())
    rows = [row for place, row in enumerate(listed.rows) if asked.all or place < ROWS_MOST or row.key == asked.row]
    shown = items(rows, asked=asked.row, split=asked.split)
    bodies: dict[str, Body] = {}
    for row, item in zip(rows, shown, strict=True):
        if item.open:
            bodies[item.key] = await read_body(moment, row, split=asked.split)
    flying = await read_under_way(moment)
    return Shown(
        {
            "items": shown,
            "flying": flying,
            "bodies": bodies,
            "of": {key: state_of(body) for key, body in bodies.items()},
            "left_out": listed.left_out,
            "folded": len(listed.rows) - len(rows),
            "notes": listed.notes,
            "due": sum(listed.counts.values()),
            "urgent": _urgent(listed),
            "decided": decisions(*await _recent(moment), moment.at),
            "split": asked.split,
        },
        again=AGAIN if flying or any(map(is_under_way, bodies.values())) else None,
    )


async def view_row(moment: Moment, asked: RowInput) -> Shown:
    """Return what one row unfolds to. A row that has gone says who decided it, if that is known."""
    for row in (await moment.ask(attention, Nothing())).rows:
        if row.key == asked.key:
            body = await read_body(moment, row, split=asked.split)
            item = item_of(row, split=asked.split)
            return Shown({"item": item, "body": body, "state": state_of(body), "split": asked.split})
    gone = {"template": "needs_you/gone.html", "decision": decision_of(asked.key, *await _recent(moment))}
    return Shown({"item": {"id": id_of(asked.key)}, "body": gone, "state": "gone"})


async def _recent(moment: Moment) -> tuple[Sequence[Event], Sequence[Question]]:
    """Return the newest events of decisions, the oldest first, and the questions that ended last, if there are any."""
    recent = await moment.ask(events, EventsInput(follow=False, limit=READ, kind=KINDS))
    if not isinstance(recent, list) or not any(event.kind == QUESTION_END for event in recent):
        return recent if isinstance(recent, list) else [], ()
    return recent, (await moment.ask(ended_questions, EndedInput(limit=READ))).rows


def _urgent(listed: Attention) -> int:
    return listed.counts[Severity.CRITICAL] + listed.counts[Severity.HIGH]


PAGE = Page(
    "needs-you",
    "/",
    "Needs you",
    "needs-you",
    ListInput,
    view,
    "needs_you/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("due", "needs_you/due.html"),
        Region("rows", "needs_you/list.html"),
    ),
)
NEEDS_YOU = Room(
    pages=(PAGE,),
    actions=(*ACTIONS, *LOGGING_IN),
    feeds=(NEWS,),
    fragments=(Fragment("/needs-you/row", RowInput, view_row, "needs_you/body.html"),),
)
