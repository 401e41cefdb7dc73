"""The audit trail: what happened, in sentences, and whether the record is whole."""

from __future__ import annotations

from urllib.parse import urlencode

from api.operations.audit import audit, verify_audit
from api.operations.base import Call, Nothing
from api.operations.views import events
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.numbers import plural
from api.ui.page import Action, Done, Download, Page, Region, Room, Shown
from api.ui.pages.events.ask import SPANS, EventsAsked, query_of
from api.ui.pages.events.export import export
from api.ui.pages.events.kinds import GROUPS
from api.ui.pages.events.rows import rows_of
from meta.errors import Conflict
from reconciler.store.events.kinds import EVENT_KINDS
from reconciler.views import Event

PAGE_ROWS = 60
"""Events on one page."""


async def view(moment: Moment, asked: EventsAsked) -> Shown:
    """Return one page of the events, and the last verification of the record."""
    found, gone = await _events(moment, asked)
    more = len(found) > PAGE_ROWS
    shown = found[-PAGE_ROWS:]
    return Shown(
        {
            "asked": asked,
            "rows": rows_of(shown),
            "gone": gone,
            "older": _query(asked, before=shown[0].seq) if more else None,
            "narrowed": bool(asked.agent or asked.kind or asked.time or asked.before),
            "groups": [(kind, words, _query(asked, kind=kind, before=None)) for kind, words in GROUPS],
            "spans": SPANS,
            "kinds": sorted(EVENT_KINDS),
            "export": f"/events/export.json{_query(asked, before=None).removeprefix('/events')}",
            "audit": (await moment.ask(audit, Nothing())).last,
        }
    )


async def _events(moment: Moment, asked: EventsAsked) -> tuple[list[Event], str]:
    """Return one event more than a page has, oldest first; or why the place asked for is gone."""
    try:
        found = await moment.ask(events, query_of(asked, moment.at, limit=PAGE_ROWS + 1))
    except Conflict as error:
        return [], error.summary
    return (found if isinstance(found, list) else []), ""


async def verify_it(call: Call, _asked: Nothing) -> Done:
    """Verify the record now."""
    result = await do(call, verify_audit, Nothing())
    if result.error:
        return Done(f"It could not be verified: {result.error}")
    faults = plural(result.faults, "fault") if result.faults else "no fault"
    return Done(f"{result.events:,} events, the tags and meta are verified: {faults}.")


def _query(asked: EventsAsked, **changes: object) -> str:
    values = {"agent": asked.agent, "kind": asked.kind, "time": asked.time, "before": asked.before, **changes}
    return f"/events?{urlencode({key: value for key, value in values.items() if value not in ('', None)})}"


PAGE = Page(
    "events",
    "/events",
    "Events",
    "events",
    EventsAsked,
    view,
    "events/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("events-audit", "events/audit.html"),
        Region("events", "events/list.html"),
    ),
)
EVENTS = Room(
    pages=(PAGE,),
    actions=(Action("/events/verify", Nothing, verify_it),),
    downloads=(Download("/events/export.json", EventsAsked, export),),
)
