"""Open views: one rendering for all who look, spaced, and nothing lost when one of them leaves or a reading fails."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.operations.base import Call, Nothing
from api.ui.live.hub import FAILED, MANY, OF_ONE, REREAD, SPACING, SPARE, Hub, LiveView
from api.ui.live.shot import Shot
from api.ui.moment import Moment
from api.ui.page import Page, Shown
from api.ui.render import Rendered
from meta.errors import NotFound, TransientError
from reconciler.events.changes import Changes

pytestmark = pytest.mark.looptime
PAGE: Page[Nothing] = Page("p", "/p", "P", "p", Nothing, cast("Any", None), "p.html")


class Renderer:
    """Counts renderings; `errors` are raised by the next ones."""

    def __init__(self, again: float | None = None) -> None:
        self.changes = Changes()
        self.times: list[float] = []
        self.errors: list[Exception] = []
        self.again = again
        service: Any = SimpleNamespace(changes=self.changes, status=SimpleNamespace(once=lambda: None))
        self.hub = Hub(Call(service, cast("Any", None)))

    async def __call__(self, moment: Moment) -> Shot:
        self.times.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop()
        number = str(len(self.times))
        return Shot(moment.version, (Rendered("r", number, number),), "P", Shown({}, again=self.again))

    def watch(self) -> Any:
        return self.hub.watch(PAGE, Nothing(), self)


async def text(view: LiveView, shot: Shot | None = None) -> str:
    """Return the number of the next rendering."""
    newer = await view.after(shot)
    assert newer is not None
    return newer.regions[0].text


async def test_a_hundred_who_look_share_one_rendering() -> None:
    renderer = Renderer()
    with renderer.watch() as first, renderer.watch() as second:
        assert first is second
        assert await asyncio.gather(*(text(first) for _ in range(100))) == ["1"] * 100


async def test_a_change_after_a_pause_is_shown_at_once_and_many_at_a_distance() -> None:
    renderer = Renderer()
    with renderer.watch() as view:
        shot = await view.after(None)
        await asyncio.sleep(5)
        for _ in range(3):
            renderer.changes.note()
            shot = await view.after(shot)
    assert renderer.times[1:] == pytest.approx([5, 5 + SPACING, 5 + 2 * SPACING])


async def test_one_view_that_is_slow_to_render_leaves_the_loop_most_of_the_time() -> None:
    renderer = Renderer()

    async def slowly(moment: Moment) -> Shot:
        await asyncio.sleep(1)
        return await renderer(moment)

    with renderer.hub.watch(PAGE, Nothing(), slowly) as view:
        shot = await view.after(None)
        for _ in range(2):
            renderer.changes.note()
            shot = await view.after(shot)
    assert renderer.times == pytest.approx([1, 2 + SPARE, 3 + 2 * SPARE])


async def test_a_change_during_a_rendering_is_not_lost() -> None:
    renderer = Renderer()
    with renderer.watch() as view:
        shot = await view.after(None)
        renderer.changes.note()
        renderer.changes.note()
        async with asyncio.timeout(1):
            assert await text(view, shot) == "2"


async def test_a_view_is_read_again_if_it_says_so_or_after_a_while() -> None:
    renderer = Renderer(again=2.0)
    with renderer.watch() as view:
        shot = await view.after(None)
        shot = await view.after(shot)
        renderer.again = None
        shot = await view.after(shot)
        await view.after(shot)
    assert renderer.times == pytest.approx([0, 2, 4, REREAD])


async def test_views_on_which_nothing_happens_are_read_again_in_one_moment() -> None:
    renderer = Renderer()
    moments: list[Moment] = []

    async def take(moment: Moment) -> Shot:
        moments.append(moment)
        return await renderer(moment)

    views = [renderer.hub.watch(replace(PAGE, name=str(number)), Nothing(), take) for number in range(20)]
    with ExitStack() as stack:
        opened = []
        for view in map(stack.enter_context, views):
            opened.append((view, await view.after(None)))
            await asyncio.sleep(0.7)
        del moments[:]
        await asyncio.gather(*(view.after(shot) for view, shot in opened))
    assert len(moments) == 20 and len({id(moment) for moment in moments}) == 1


async def test_the_next_one_goes_on_if_the_one_who_renders_leaves() -> None:
    renderer = Renderer()
    with renderer.watch() as view:
        shot = await view.after(None)
        leaving, staying = (asyncio.create_task(text(view, shot)) for _ in range(2))
        await asyncio.sleep(1)
        leaving.cancel()
        renderer.changes.note()
        assert await staying == "2"


async def test_who_comes_while_another_waits_for_a_change_sees_at_once_what_is_there() -> None:
    renderer = Renderer()
    with renderer.watch() as view:
        shot = await view.after(None)
        waiting = asyncio.create_task(view.after(shot))
        await asyncio.sleep(1)
        async with asyncio.timeout(0.1):
            assert await text(view) == "1"
        waiting.cancel()


async def test_a_view_that_cannot_be_read_is_tried_again_later() -> None:
    renderer = Renderer()
    renderer.errors = [TransientError("the disk is busy")]
    with renderer.watch() as view:
        assert await text(view) == "2"
    assert renderer.times[1] == pytest.approx(FAILED)


async def test_an_unexpected_error_is_logged_and_the_last_shot_stays_until_the_view_can_be_read_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    renderer = Renderer()
    with renderer.watch() as view:
        shot = await view.after(None)
        renderer.errors = [RuntimeError("a template tripped")]
        waiting = asyncio.create_task(text(view, shot))
        renderer.changes.note()
        await asyncio.sleep(FAILED - 1)
        assert view.failing
        assert not waiting.done()
        renderer.changes.note()
        assert await waiting == "3"
        assert not view.failing
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "a template tripped" in str(record.exc_info[1])
    assert record.__dict__["limited"]


async def test_what_does_not_exist_any_more_is_gone_for_all_who_look() -> None:
    renderer = Renderer()
    renderer.errors = [NotFound("there is no agent bob")]
    with renderer.watch() as view:
        assert set(await asyncio.gather(view.after(None), view.after(None))) == {None}


async def test_many_views_are_rendered_one_at_a_time_with_a_pause_for_all() -> None:
    renderer = Renderer()
    running: list[int] = []

    async def slowly(moment: Moment) -> Shot:
        running.append(1)
        assert len(running) == 1
        await asyncio.sleep(0.01)
        running.pop()
        return await renderer(moment)

    with ExitStack() as stack:
        pages = [replace(PAGE, name=str(number)) for number in range(MANY + 1)]
        views = [stack.enter_context(renderer.hub.watch(page, Nothing(), slowly)) for page in pages]
        await asyncio.gather(*(view.after(None) for view in views))
    assert renderer.times[-1] == pytest.approx(MANY * 0.01 * (1 + SPARE) + 0.01)


async def test_a_few_views_do_not_wait_for_one_another() -> None:
    renderer = Renderer()

    async def slowly(moment: Moment) -> Shot:
        await asyncio.sleep(0.01)
        return await renderer(moment)

    with ExitStack() as stack:
        pages = [replace(PAGE, name=str(number)) for number in range(MANY)]
        views = [stack.enter_context(renderer.hub.watch(page, Nothing(), slowly)) for page in pages]
        await asyncio.gather(*(view.after(None) for view in views))
    assert renderer.times[-1] == pytest.approx(0.01)


async def test_a_login_has_so_many_streams_at_once_and_another_one_still_its_own() -> None:
    hub = Renderer().hub
    with ExitStack() as stack:
        for _ in range(OF_ONE):
            hub.admit("s1")
            stack.enter_context(hub.stream("s1"))
        hub.admit("s2")
        with pytest.raises(TransientError, match="live pages open"):
            hub.admit("s1")
    hub.admit("s1")


async def test_a_view_that_nobody_watches_is_let_go() -> None:
    renderer = Renderer()
    with renderer.watch() as first:
        await first.after(None)
    with renderer.watch() as second:
        assert second is not first
