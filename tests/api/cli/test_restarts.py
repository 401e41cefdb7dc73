"""Commands that follow or wait go on after a restart of the daemon, and say on Ctrl-C what goes on without them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import unittest.mock
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from api.cli.client import patience
from api.cli.client.exit_codes import Code
from api.cli.client.follow import Follower
from api.cli.commands import logs, messages
from api.cli.main import execute
from api.daemon.operator_sockets import serve_operator

if TYPE_CHECKING:
    from tests.api.conftest import Hive

# A connection that comes while a server closes is left open: here the process that would end goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Output(io.StringIO):
    """A stdout whose writes can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    @override
    def flush(self) -> None:
        super().flush()
        self._loop.call_soon_threadsafe(self._changed.set)

    async def lines(self, count: int) -> list[str]:
        """Return the lines once there are `count`."""
        async with asyncio.timeout(20):
            while len(self.getvalue().splitlines()) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.getvalue().splitlines()


@contextlib.asynccontextmanager
async def daemon(pods: Hive) -> AsyncIterator[None]:
    """One life of a daemon: the same hive at the same sockets."""
    stopping = asyncio.Event()
    async with serve_operator(pods.service, pods.layout, pods.config, stopping):
        yield
        stopping.set()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY", 0.02)


async def test_followed_events_are_neither_lost_nor_doubled_by_restarts(
    pods: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = Output(), io.StringIO()
    happen = pods.fake.events.append
    await happen("daemon_started", None, {"n": 1})
    with (
        unittest.mock.patch.dict(os.environ, pods.environment(), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        async with daemon(pods):
            command = asyncio.ensure_future(asyncio.to_thread(execute, ["events", "--follow", "--json"]))
            await out.lines(1)
            await happen("daemon_started", None, {"n": 2})
            await out.lines(2)
        await happen("daemon_started", None, {"n": 3})
        async with daemon(pods):
            await happen("daemon_started", None, {"n": 4})
            await out.lines(4)
        async with daemon(pods):
            await happen("daemon_started", None, {"n": 5})
            lines = await out.lines(5)
            monkeypatch.setattr(patience, "PATIENCE", -1.0)
        async with asyncio.timeout(20):
            assert await command == Code.UNREACHABLE
    assert [json.loads(line)["data"]["n"] for line in lines] == [1, 2, 3, 4, 5]
    assert err.getvalue().count("; waiting for the daemon\n") == 3


async def test_a_wait_for_a_deploy_goes_on_after_a_restart(pods: Hive) -> None:
    pods.fake.add()
    async with daemon(pods):
        command = asyncio.ensure_future(pods.hive("approve", "1", "--wait"))
        await pods.fake.asked.wait()
    pods.fake.move(1, "approved", "deployed")
    async with daemon(pods):
        code, out, err = await command
    assert (code, out) == (Code.OK, "alice has 1 deployed, at commit 111111111111\n"), err
    assert "waiting for the daemon" in err


async def test_a_wait_for_an_answer_goes_on_after_a_restart(pods: Hive) -> None:
    async with daemon(pods):
        command = asyncio.ensure_future(pods.hive("ask", "alice", "when?", "--wait"))
        while not await pods.fake.questions.open():
            await asyncio.sleep(0)
    await pods.fake.questions.answer(1, "alice", "at noon")
    async with daemon(pods):
        code, out, _ = await command
    assert (code, out) == (Code.OK, "at noon\n")


async def test_a_daemon_that_stays_away_ends_a_wait_at_its_timeout(pods: Hive) -> None:
    pods.fake.add()
    async with daemon(pods):
        command = asyncio.ensure_future(pods.hive("approve", "1", "--wait", "--timeout", "0.3"))
        await pods.fake.asked.wait()
    code, _, err = await command
    assert (code, "the work goes on" in err) == (Code.TIMEOUT, True), err


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


async def test_ctrl_c_says_what_goes_on_and_how_to_look_again(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    hive.fake.add()
    monkeypatch.setattr(Follower, "_has", interrupt)
    monkeypatch.setattr(messages, "_answered", interrupt)
    monkeypatch.setattr(logs, "_follow", interrupt)
    monkeypatch.setattr(patience.Following, "next", interrupt)
    for words, says, look in (
        ("approve 1 --wait", "the deploy of 1 for alice goes on", "`hive plan alice` shows"),
        ("stop alice --wait", "the work goes on", "`hive plan alice` shows"),
        ("ask alice when? --wait", "question 1 to alice stays open", "`hive questions 1` shows"),
        ("logs alice -f", "alice goes on", "`hive logs alice --follow` shows"),
        (
            "events -f --agent alice --kind daemon_started",
            "hive goes on",
            "`hive events --follow --agent alice --kind daemon_started --after ",
        ),
    ):
        code, _, err = await hive.hive(*words.split())
        assert code == Code.INTERRUPTED, words
        assert f"hive: interrupted; {says}\n  try: {look}" in err, err
