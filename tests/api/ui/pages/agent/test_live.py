"""The live page of an agent: the page itself, its stream, and what its folds load."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api.operations.base import Call
from api.operations.lifecycle import Named
from api.sockets.principals import Operator
from api.ui.page import StreamContext
from api.ui.pages.agent.follower import KEPT, Followers
from api.ui.pages.agent.stream import live_stream
from api.ui.pages.agent.view import PAGE
from api.ui.transcript.shown import WINDOW
from meta.names import AgentName
from tests.api.ui.conftest import VIEWER, Ui
from tests.api.ui.pages.agent.conftest import ALICE, Log
from tests.support.live_lines import Event, call, delta, items, result, text, turn_end, turn_start, usage

ASKED = Named(agent=ALICE)
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}\u202e<hx-partial hx-target='#nav'>"


def ids(html: str) -> list[str]:
    """Return the ids of the rows in order."""
    return re.findall(r'<li id="([^"]+)"', html)


@asynccontextmanager
async def watching(ui: Ui, log: Log, seen: str) -> AsyncIterator[AsyncGenerator[str, None]]:
    """Yield the stream of alice's page as the browser with the token `seen` gets it, once events come by it.

    Two texts are in the log then: the first may come with the whole page, so only the second tells.
    """
    site = ui.site
    with site.hub.watch(PAGE, ASKED, lambda moment: site.take(PAGE, ASKED, moment)) as view:
        events = live_stream(StreamContext(caller(ui), view, site.templates, seen, VIEWER, asyncio.Event()), ASKED)
        try:
            for words in ("Here.", "Now."):
                await log.emit(text(words))
                await after(events, words)
            yield events
        finally:
            await events.aclose()


async def after(events: AsyncGenerator[str, None], words: str) -> str:
    """Return what the stream writes up to and with these words."""
    got = ""
    async with asyncio.timeout(20):
        while words not in got:
            got += await anext(events)
    return got


def caller(ui: Ui) -> Call:
    return Call(ui.site.call.service, Operator(), ui.hive.stopping)


async def token(ui: Ui) -> str:
    return (await ui.get("/live/agents/alice?once=1")).headers["x-seen"]


async def test_the_page_shows_the_last_turn_and_lines_of_those_before(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(1), text("One."), usage(), turn_end(1), turn_start(2, "mend it"), text("I see."))
    page = (await ui.get("/agents/alice")).text
    assert ids(page) == ["t-log1-1", "m-log1-5", "e-log1-6"]
    assert "Turn 1, 1 min, 0 calls, $1.50: “One.”" in page
    assert "mend it" in page and "I see." in page


async def test_an_agent_without_a_turn_says_how_one_begins(ui: Ui) -> None:
    page = (await ui.get("/agents/alice")).text
    assert "No turn yet" in page and "A message begins one." in page


async def test_what_is_written_meanwhile_is_appended_and_what_grows_takes_its_place(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(), text("First."))
    async with watching(ui, log, await token(ui)) as events:
        await log.emit(delta("I "))
        row = f"e-log1-{log.last}"
        new = await after(events, row)
        assert 'hx-target="#events" hx-swap="beforeend"' in new and "caret" in new and ids(new) == [row]
        await log.emit(delta("see"), text("I see."))
        changed = await after(events, "I see.")
        assert f'hx-target="#{row}" hx-swap="outerMorph"' in changed and set(ids(changed)) == {row}


async def test_a_browser_that_comes_back_gets_the_whole_once_and_then_what_is_new(ui: Ui, log: Log) -> None:
    await log.emit(turn_start())
    async with watching(ui, log, await token(ui)) as events:
        await log.emit(text("Seen."))
        got = await after(events, "Seen.")
        assert ids(got) == [f"e-log1-{log.last}"]
        had = re.findall(r"^id: (\S+)$", got, re.MULTILINE)[-1]
    await log.emit(text("Missed."))
    with ui.site.hub.watch(PAGE, ASKED, lambda moment: ui.site.take(PAGE, ASKED, moment)) as view:
        back = live_stream(StreamContext(caller(ui), view, ui.site.templates, had, VIEWER, asyncio.Event()), ASKED)
        again = await after(back, "Missed.")
        await back.aclose()
    assert ids(again) == ["m-log1-1", *(f"e-log1-{number}" for number in range(2, log.last + 1))]
    assert again.count("<hx-partial") == 1


async def test_a_browser_that_has_all_gets_nothing(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(), text("First."))
    seen = await token(ui)
    with ui.site.hub.watch(PAGE, ASKED, lambda moment: ui.site.take(PAGE, ASKED, moment)) as view:
        events = live_stream(StreamContext(caller(ui), view, ui.site.templates, seen, VIEWER, asyncio.Event()), ASKED)
        assert [await anext(events), await anext(events)] == [":\n\n", ":\n\n"]
        await events.aclose()


async def test_two_pages_of_one_agent_get_the_same(ui: Ui, log: Log) -> None:
    await log.emit(turn_start())
    async with watching(ui, log, await token(ui)) as one, watching(ui, log, await token(ui)) as other:
        await log.emit(call("a", "Bash", command="make"))
        row = f"e-log1-{log.last}"
        assert (await after(one, row)).split("data: ", 1)[1].endswith((await after(other, row)).split("data: ", 1)[1])


async def test_a_page_that_is_opened_again_after_all_were_closed_has_what_came_meanwhile(ui: Ui, log: Log) -> None:
    await log.emit(turn_start())
    async with watching(ui, log, await token(ui)):
        pass
    await log.emit(text("Meanwhile."))
    assert "Meanwhile." in (await ui.get("/agents/alice")).text
    with ui.site.hub.watch(PAGE, ASKED, lambda moment: ui.site.take(PAGE, ASKED, moment)) as view:
        back = live_stream(StreamContext(caller(ui), view, ui.site.templates, "", VIEWER, asyncio.Event()), ASKED)
        again = await after(back, "Meanwhile.")
        await back.aclose()
    assert len(ids(again)) == len(set(ids(again))) == log.last


async def test_a_new_turn_folds_the_one_before(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(1), text("First."))
    async with watching(ui, log, await token(ui)) as events:
        await log.emit(turn_end(1), turn_start(2))
        message = f"m-log1-{log.last}"
        assert ids(await after(events, message))[-2:] == ["t-log1-1", message]


async def test_events_that_are_too_many_for_a_reader_are_neither_missing_nor_twice(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(1))
    async with watching(ui, log, await token(ui)) as events:
        await log.emit(*(text(f"number {number}.") for number in range(700)), text("the end"))
        got = await after(events, "the end")
    shown = ids(got[got.rindex('hx-target="#transcript"') :])
    assert shown[0] == "m-log1-1" and shown[1].startswith("before-") and shown[-1] == f"e-log1-{log.last}"
    assert len(shown) == len(set(shown)) and len(shown) >= WINDOW


async def test_what_is_before_the_window_loads_when_it_is_opened(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(1), *(text(f"number {number}.") for number in range(WINDOW + 30)))
    page = (await ui.get("/agents/alice")).text
    assert "30 earlier events" in page and "number 29." not in page
    part = (await ui.get("/agents/alice/turn?turn=log1-1&end=30")).text
    assert "number 0." in part and "number 29." in part and "number 30." not in part


async def test_a_folded_turn_and_a_folded_call_load_when_they_are_opened(ui: Ui, log: Log) -> None:
    await log.emit(turn_start(1, "the order"), call("a", "Bash", command="make"), result("a", "all is well"))
    await log.emit(*(event for number in range(2, 17) for event in (turn_start(number), turn_end(number))))
    page = (await ui.get("/agents/alice")).text
    assert "3 earlier turns" in page
    assert ids((await ui.get("/agents/alice/turns")).text) == ["t-log1-1", "t-log1-4", "t-log1-6"]
    turn = (await ui.get("/agents/alice/turn?turn=log1-1")).text
    assert "the order" in turn and "all is well" not in turn
    assert "all is well" in (await ui.get("/agents/alice/item?item=log1-2")).text


@pytest.mark.parametrize("path", ["turn?turn=log1-9", "item?item=log1-9", "item?item=log2-1_3"])
async def test_what_is_not_kept_any_more_says_so(ui: Ui, log: Log, path: str) -> None:
    await log.emit(turn_start())
    answer = await ui.get(f"/agents/alice/{path}")
    assert answer.status_code == 404 and "not kept any more" in answer.text


@pytest.mark.parametrize(
    "event",
    [
        turn_start(1, HOSTILE, HOSTILE),
        text(HOSTILE),
        text(f"```\n{HOSTILE}\n```"),
        call("a", HOSTILE, command=HOSTILE),
        call("a", "Edit", file_path=HOSTILE, old_string="a", new_string=HOSTILE),
        call("a", "Write", file_path="a", content=HOSTILE),
        {"kind": "note", "text": HOSTILE},
        {"kind": HOSTILE},
        turn_end(1, ok=False, note=HOSTILE),
        {"kind": "state", "state": "parked", "since": 1.0, "until": 1e300, "reason": HOSTILE},
    ],
)
async def test_what_an_agent_writes_is_text(ui: Ui, log: Log, event: Event) -> None:
    await log.emit(turn_start(), event, result("a", HOSTILE, failed=False), call("b", "Bash"), result("b", HOSTILE))
    kinds = (event["items"][0]["type"],) if "items" in event else ()
    pages = [(await ui.get("/agents/alice")).text, (await ui.get("/agents/alice/turn?turn=log1-1")).text]
    pages += [(await ui.get(f"/agents/alice/item?item=log1-{4 if kinds != ('tool_call',) else 2}")).text]
    for page in pages:
        assert "<script>alert" not in page and "<img" not in page and "<hx-partial" not in page
        assert "\u202e" not in page and "49" not in re.sub(r"[0-9a-f]{10,}|\d{2}:\d{2}:\d{2}|T[\d:]+Z", "", page)


async def test_what_an_agent_writes_is_text_in_the_stream(ui: Ui, log: Log) -> None:
    await log.emit(turn_start())
    async with watching(ui, log, await token(ui)) as events:
        await log.emit(delta(HOSTILE), call("a", "Bash", command=HOSTILE), result("a", HOSTILE, failed=True))
        got = await after(events, f"e-log1-{log.last - 1}")
    assert "<script>" not in got and "<img" not in got and "\u202e" not in got
    assert set(re.findall(r"<hx-partial hx-target=\S+", got)) <= {'<hx-partial hx-target="#events"'}


def test_transcripts_of_agents_that_nobody_looks_at_are_bounded() -> None:
    followers = Followers()
    first, *_, last = [followers.of(AgentName(f"a{number}")) for number in range(KEPT + 2)]
    assert followers.of(last.agent) is last
    assert followers.of(first.agent) is not first


@pytest.mark.parametrize(
    "event",
    [
        text("`a`" * 20_000),
        text("```\n" * 15_000),
        text("a\n\n" * 15_000),
        text("x" * 60_000),
        items(
            {"type": "tool_call", "id": "d", "name": "Edit", "input": '{"file_path":"x","old_string":' + "[" * 40_000}
        ),
        call("c", "Edit", file_path="f", old_string="a w\n" * 1_500, new_string="b w\n" * 1_500),
    ],
    ids=["ticks", "fences", "paragraphs", "long", "arguments", "edits"],
)
async def test_the_page_weighs_little_whatever_an_agent_says(ui: Ui, log: Log, event: Event) -> None:
    await log.emit(turn_start(1, "go"))
    await log.emit(*[event] * WINDOW)
    assert len((await ui.get("/agents/alice")).text) < 150_000
