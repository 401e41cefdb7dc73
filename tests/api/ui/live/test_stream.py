"""A page's stream: what the browser lacks, once, in order, with a token to come back with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from api.ui.live.shot import Shot
from api.ui.live.stream import HEARTBEAT, PROXIED, bounded, page_stream
from api.ui.page import Shown
from api.ui.render import CSRF, Rendered, Viewer

pytestmark = pytest.mark.looptime


def shot(**texts: str) -> Shot:
    """A shot of regions; the digest of each is its text."""
    return Shot(1, tuple(Rendered(id, f"<p>{text}</p>", text) for id, text in texts.items()), "P", Shown({}))


class View:
    """A view whose shots the test gives."""

    def __init__(self, *shots: Shot | None) -> None:
        self._shots = list(shots)
        self.failing = False

    async def after(self, _shot: Shot | None) -> Shot | None:
        if not self._shots:
            await asyncio.Event().wait()
        return self._shots.pop(0)


def stream(view: View, seen: str = "", **events: asyncio.Event) -> AsyncGenerator[str, None]:
    never = {"stopping": asyncio.Event(), "over": asyncio.Event()}
    return page_stream(cast("Any", view), seen, Viewer("its-token", "1"), **{**never, **events})


async def take(events: AsyncGenerator[str, None], count: int) -> list[str]:
    taken = [await anext(events) for _ in range(count + 1)][1:]
    await events.aclose()
    return taken


async def test_a_browser_that_has_all_gets_only_the_region_that_changes() -> None:
    (event,) = await take(stream(View(shot(a="1a", b="1b"), shot(a="1a", b="2b")), seen="1a.1b"), 1)
    assert event == ('id: 1a.2b\ndata: <hx-partial hx-target="#b" hx-swap="outerMorph"><p>2b</p></hx-partial>\n\n')


@pytest.mark.parametrize("seen", ["", "1a", "1a.1b.1c", "<script>", "1a." * 500])
async def test_a_browser_whose_token_is_of_another_page_gets_all(seen: str) -> None:
    (event,) = await take(stream(View(shot(a="1a", b="1b")), seen), 1)
    assert event.count("<hx-partial") == 2


async def test_a_region_of_several_lines_is_one_event_with_the_login_s_token() -> None:
    region = Rendered("a", f"<p>\n{CSRF}</p>", "1a")
    (event,) = await take(stream(View(Shot(1, (region,), "P", Shown({})))), 1)
    assert [line.partition(": ")[0] for line in event.strip().split("\n")] == ["id", "data", "data"]
    assert "its-token" in event and CSRF not in event


async def test_a_stream_without_news_writes_now_and_then() -> None:
    clock = asyncio.get_running_loop().time
    assert await take(stream(View()), 2) == [":\n\n", ":\n\n"]
    assert clock() == pytest.approx(2 * HEARTBEAT)


async def test_a_page_that_cannot_be_read_now_is_told_so_and_when_it_can_be_again() -> None:
    view = View()
    events = stream(view)
    await anext(events)
    view.failing = True
    assert await anext(events) == "event: trouble\ndata: view\n\n"
    view.failing = False
    assert [await anext(events), await anext(events)] == ["event: well\ndata: view\n\n", ":\n\n"]
    await events.aclose()


async def test_a_page_whose_thing_is_gone_is_told_so_and_ends() -> None:
    events = stream(View(None))
    assert [text async for text in events][1:] == ["event: gone\ndata: page\n\n"]


async def test_a_login_that_ends_ends_its_streams() -> None:
    over = asyncio.Event()
    events = stream(View(), over=over)
    await anext(events)
    asyncio.get_running_loop().call_later(1, over.set)
    assert [text async for text in events] == ["event: over\ndata: login\n\n"]


async def test_a_daemon_that_stops_ends_its_streams_without_a_word() -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert [text async for text in stream(View(), stopping=stopping)] == [":\n\n"]


async def test_a_stream_of_a_user_of_a_proxy_ends_without_a_word_so_that_the_proxy_is_asked_again() -> None:
    events, began = bounded(stream(View(shot(a="1a"))), PROXIED), asyncio.get_running_loop().time()
    texts = [text async for text in events]
    assert asyncio.get_running_loop().time() - began == PROXIED
    assert texts[1].startswith("id: 1a\n")
    assert {*texts[2:]} == {":\n\n"}


async def test_a_bounded_stream_ends_early_with_what_it_bounds() -> None:
    over = asyncio.Event()
    events = bounded(stream(View(), over=over), PROXIED)
    await anext(events)
    over.set()
    assert [text async for text in events] == ["event: over\ndata: login\n\n"]
