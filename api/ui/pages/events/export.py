"""Events as a file: every one that the page's filter wants, oldest first, as a JSON array."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict

from api.operations.base import Call
from api.operations.views import MAX_EVENTS, EventsInput, events
from api.ui.acting import do
from api.ui.page import File
from api.ui.pages.events.ask import EventsAsked, query_of
from reconciler.views import Event


async def export(call: Call, asked: EventsAsked) -> File:
    """Return the file. It is read page by page while it is sent, so it needs little memory however long it is."""
    wanted = query_of(asked, time.time(), limit=MAX_EVENTS).model_copy(update={"oldest": True, "before": None})
    return File("events.json", "application/json", _content(call, wanted, await _page(call, wanted)))


async def _content(call: Call, wanted: EventsInput, page: list[Event]) -> AsyncIterator[str]:
    before = "[\n"
    while page:
        for event in page:
            yield before + json.dumps(asdict(event), ensure_ascii=False)
            before = ",\n"
        page = await _page(call, wanted.model_copy(update={"after": page[-1].seq})) if len(page) == MAX_EVENTS else []
    yield "\n]\n" if before != "[\n" else "[]\n"


async def _page(call: Call, wanted: EventsInput) -> list[Event]:
    page = await do(call, events, wanted)
    return page if isinstance(page, list) else []
