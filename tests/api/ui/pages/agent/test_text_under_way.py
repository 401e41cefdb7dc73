"""A text while the model writes it, from the CLI's lines over the harness's bus and hive's copy to the page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.ui.page import StreamContext
from api.ui.pages.agent.stream import live_stream
from api.ui.pages.agent.view import PAGE
from harness.events.bus import Bus, Subscription
from harness.events.store import EventStore
from harness.runtimes.claude.lines import parse_line
from harness.turn import Recorder, make_watchdog
from meta.agent_toml.settings import TurnLimits
from meta.wire.link import Hello
from meta.wire.live import Note, TurnStart
from reconciler.observe.live import Live, LiveLine
from tests.api.ui.conftest import VIEWER, Ui
from tests.api.ui.pages.agent.conftest import ALICE
from tests.api.ui.pages.agent.test_live import ASKED, after, caller

STREAM = Path(__file__).parents[4] / "harness/runtimes/claude/streams/04_partial_messages.jsonl"
ROW = re.compile(r'<li id="e-[^"]+"[^>]*>.*?</li>', re.DOTALL)
SAY = re.compile(r'<p class="say[^"]*">(.*?)</p>', re.DOTALL)


@contextmanager
def harness(at: Path) -> Iterator[Bus]:
    store = EventStore(at)
    yield Bus(store)
    store.close()


async def pass_on(bus: Bus, subscription: Subscription, live: Live) -> None:
    """Take in hive what the harness has emitted."""
    bus.emit(Note(text="more"))  # there always is something, and it is no part of the text
    for row in await subscription.get() or ():
        await live.take(ALICE, LiveLine(row.id, row.ts, json.loads(row.text), row.text))


def said(html: str) -> list[str]:
    """Return the texts of the model that a page shows, the markup taken out."""
    return [say for row in ROW.findall(html) if (say := " ".join(SAY.findall(row)).strip())]


async def joined(ui: Ui) -> str:
    """Return what the stream gives a browser that comes with nothing."""
    with ui.site.hub.watch(PAGE, ASKED, lambda moment: ui.site.take(PAGE, ASKED, moment)) as view:
        context = StreamContext(caller(ui), view, ui.site.templates, "", VIEWER, asyncio.Event())
        events = live_stream(context, ASKED)
        got = await after(events, "transcript")
        await events.aclose()
    return got


async def test_each_page_has_at_each_moment_what_the_model_has_written_so_far(ui: Ui, tmp_path: Path) -> None:
    live = ui.hive.fake.live
    with harness(tmp_path / "events.sqlite") as bus, bus.subscribe() as subscription:
        live.begin(ALICE, Hello(generation="g", nonce="n", log=bus.log, last=bus.last))
        bus.emit(TurnStart.model_validate({"from": "manager", "body": "write", "unread": 0}))
        recorder = Recorder(bus, make_watchdog(TurnLimits()))
        written: list[str] = []
        for line in STREAM.read_bytes().splitlines():
            parsed = parse_line(line)
            recorder.line(parsed.items, parsed.line, repeated=parsed.repeated)
            await pass_on(bus, subscription, live)
            event = json.loads(line).get("event", {})
            if event.get("content_block", {}).get("type") == "text":
                written.append("")
            elif (piece := event.get("delta", {}).get("text")) is not None:
                written[-1] += piece
                so_far = [each.strip() for each in written]
                assert said((await ui.get("/agents/alice")).text) == said(await joined(ui)) == so_far
        assert written == ["I will write to bob now.", "sent the message."]
        assert said((await ui.get("/agents/alice")).text) == written
