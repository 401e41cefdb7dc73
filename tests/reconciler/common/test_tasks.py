"""Endless tasks are watched: none ends in silence, and none is started beside the watch."""

from __future__ import annotations

import ast
import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.common.rounds import ERROR_LIMIT
from reconciler.common.tasks import Background, Ended, run_together

ROOT = Path(__file__).parents[3]
AWAITED = "ends with the function that starts it, which awaits it"
ENDS = "ends by itself, and its end is handled"
STARTERS: Mapping[str, str] = {
    "reconciler/common/tasks.py Background.start": "the watch itself",
    "reconciler/common/tasks.py run_together": "the end of one ends the caller",
    "reconciler/upkeep/backups/write.py _in_thread": AWAITED,
    "reconciler/backends/local/launch.py _first": AWAITED,
    "reconciler/proposals/watch.py Watch._wait": AWAITED,
    "reconciler/proposals/watch.py _WatchSet.__init__": "the end of it ends Watch.run",
    "reconciler/observe/sender.py Sender.start": "sends lines, each within a deadline",
    "reconciler/loop/queue.py Queue.add": "works on one agent until nothing is due; errors are counted and backed off",
    "reconciler/egress/__main__.py _run": "the end of the server ends the process, which is then started anew",
    "reconciler/egress/control.py Control._watch": AWAITED,
    "reconciler/egress/resolver.py connect": AWAITED,
    "reconciler/egress/server.py Server._accept": "serves one connection; an error is logged, and ends it",
    "reconciler/egress/server.py Server._refuse": "answers one connection that is too many; an error is logged",
    "reconciler/egress/exchange.py Exchange._both_ways": AWAITED,
    "reconciler/egress/exchange.py Exchange._carry": AWAITED,
    "reconciler/messaging/receivers.py Receivers._start_release": ENDS,
    "reconciler/store/database.py Database.submit": "commits until nothing waits; its errors are raised in the callers",
    "reconciler/events/feed.py Events._changed": "publishes until nothing waits; an error is logged",
    "reconciler/backends/nixos/tracker.py Tracker._request": "asks for one unit",
    "api/operations/event_stream.py _until": AWAITED,
    "api/operations/live_stream.py live_sse": AWAITED,
    "api/operations/pods.py pod_sse": AWAITED,
    "api/operations/waiting.py unless_stopping": AWAITED,
    "api/ui/moment.py Moment.ask": "one reading; all who wait get its error",
    "api/ui/live/stream.py _events": AWAITED,
    "api/ui/pages/agent/stream.py _Writer.__init__": AWAITED,
    "api/ui/pages/agent/stream.py _Writer._take": AWAITED,
    "api/ui/pages/agent/follower.py Follower.follow": "reads while a page is open; its end is logged, and begun anew",
    "api/ui/pages/agent/follower.py _whole": AWAITED,
    "api/ui/diff/highlight.py Highlighter.tokens": ENDS,
    "reconciler/queries/status.py OneLook._seen": "one look; all who wait get its error",
    "reconciler/queries/audit.py AuditQuery.verify": "one verification; all who wait get its result",
    "reconciler/upkeep/doctor/live.py LiveDoctor.examine": ENDS,
    "reconciler/queries/remains.py RemainsQuery._measure": ENDS,
    "api/mcp/tools.py _unless_cancelled": AWAITED,
    "api/mcp/tools.py _to_the_end": "one call, done to its end; its caller gets the error, or has left",
    "api/mcp/app.py Endpoint._serve": AWAITED,
    "api/mcp/app.py Endpoint._started_engine": "one agent's tools; its end is logged, and the next request starts anew",
    "api/daemon/serve.py _first": AWAITED,
    "api/daemon/serve.py _once": AWAITED,
    "api/sockets/server.py Server._accept": "hands one connection to its protocol; one that has gone is closed",
    "api/lines/server.py LineServer._accept": "serves one connection; an error is logged, and ends it",
}
"""Every place where a task is started, and why nothing is lost when it ends."""


def starters(path: Path) -> Iterator[str]:
    """The functions of a file that start a task."""

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from walk(child, (*names, child.name))
                continue
            if isinstance(child, ast.Call):
                called = child.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if name in ("create_task", "ensure_future", "TaskGroup"):
                    yield f"{path.relative_to(ROOT)} {'.'.join(names)}"
            yield from walk(child, names)

    return walk(ast.parse(path.read_text(encoding="utf-8")), ())


def test_every_task_is_started_through_the_watch_or_stands_in_the_table() -> None:
    files = [path for folder in ("reconciler", "api") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = {starter for path in files for starter in starters(path)}
    assert found - STARTERS.keys() == set(), "start endless tasks with Background.start, or give a reason in the table"
    assert STARTERS.keys() - found == set(), "not in the code any more"


# the watch
async def fail(words: str = "on purpose") -> None:
    raise LookupError(words)


async def end() -> None:
    """End at once."""


async def wait() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_raises_is_logged_with_its_traceback_and_ends_the_daemon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    background = Background()
    background.start("broken", fail())
    async with asyncio.timeout(5):
        await background.ended.wait()
    assert background.failure == Ended("broken", "LookupError: on purpose")
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (logging.CRITICAL, True)
    assert record.getMessage() == "background task broken ended: LookupError: on purpose"


async def test_a_task_that_returns_or_is_cancelled_by_another_ends_the_daemon_too() -> None:
    returned, cancelled = Background(), Background()
    returned.start("short", end())
    cancelled.start("cut", wait()).cancel()
    async with asyncio.timeout(5):
        await returned.ended.wait()
        await cancelled.ended.wait()
    assert returned.failure == Ended("short", "it returned")
    assert cancelled.failure == Ended("cut", "it was cancelled")


async def test_the_first_task_that_ends_is_the_one_that_is_reported() -> None:
    background = Background()
    first, second = background.start("first", fail()), background.start("second", fail())
    await asyncio.wait({first, second})
    assert background.failure is not None
    assert background.failure.task == "first"


async def test_an_error_is_reported_on_one_line_of_bounded_length_without_secrets() -> None:
    background = Background()
    await asyncio.wait({background.start("broken", fail("a\nb sk-ant-api03-" + "x" * 40 + " " + "c" * 1000))})
    assert background.failure is not None
    said = background.failure.error
    assert said.startswith("LookupError: a b [redacted] ccc")
    assert len(said) <= ERROR_LIMIT


async def test_what_is_stopped_or_released_may_end(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    released = background.start("released", end())
    background.release(released)
    await background.stop(background.start("stopped", wait()), background.start("at once", fail()), released)
    assert background.failure is None
    assert not background.ended.is_set()
    assert not caplog.records


async def test_of_tasks_that_run_together_the_first_end_is_raised_and_the_others_are_cancelled() -> None:
    cancelled = False

    async def other() -> None:
        nonlocal cancelled
        try:
            await wait()
        finally:
            cancelled = True

    with pytest.raises(LookupError, match="on purpose"):
        await run_together({"other": other(), "broken": fail()})
    assert cancelled
    with pytest.raises(RuntimeError, match="short returned"):
        await run_together({"other": other(), "short": end()})
