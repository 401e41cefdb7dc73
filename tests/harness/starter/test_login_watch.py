"""The login of a CLI with another uid: a watcher behind the starter sees it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from harness import child as module
from harness.child import start_login_watch
from harness.login.look import decode, encode
from harness.login.presence import Presence, Standing
from harness.login.remote import RemoteCredentials
from tests.harness.starter.in_place_of_systemd import starter

LOGIN = json.dumps({"claudeAiOauth": {"accessToken": "a", "refreshToken": "r"}})


@pytest_asyncio.fixture
async def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RemoteCredentials]:
    async with asyncio.timeout(30), starter(tmp_path) as (path, _):
        monkeypatch.setenv(module.STARTER, str(path))
        made = RemoteCredentials("claude", tmp_path, {"PATH": os.environ["PATH"]}, start_login_watch)
        task = asyncio.create_task(made.feed())
        while made.look().standing is Standing.UNKNOWN:
            await asyncio.sleep(0.01)  # bounded by the timeout
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_login_that_appears_and_goes_is_seen(credentials: RemoteCredentials, tmp_path: Path) -> None:
    assert credentials.look() == Presence(Standing.MISSING, "there is no login")
    assert credentials.mark() is None
    file = tmp_path / ".claude" / ".credentials.json"
    file.parent.mkdir()
    file.write_text(LOGIN)
    assert (await credentials.fresh()).standing is Standing.PRESENT
    mark = credentials.mark()
    assert mark is not None
    file.write_text("{}")
    assert (await credentials.fresh()).reason == ".credentials.json: it has no login"
    assert credentials.mark() != mark


async def test_a_change_is_reported_by_itself(credentials: RemoteCredentials, tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text(LOGIN)
    while credentials.look().standing is not Standing.PRESENT:
        await asyncio.sleep(0.01)  # bounded by the fixture's timeout


async def test_without_a_starter_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(module.STARTER, str(tmp_path / "none.sock"))
    made = RemoteCredentials("claude", tmp_path, {}, start_login_watch)
    task = asyncio.create_task(made.feed())
    await asyncio.sleep(0)
    assert await made.fresh() == Presence(Standing.UNKNOWN)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"mark": [1], "standing": "present", "reason": ""}',
        b'{"mark": null, "standing": "odd", "reason": ""}',
        b'{"mark": null, "standing": "present", "reason": 1}',
    ],
)
def test_what_no_watcher_writes_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode(line)


def test_a_line_is_read_as_it_was_written() -> None:
    seen = ((1, 2, 3, 4), Presence(Standing.MISSING, "empty"))
    assert decode(encode(*seen)) == seen
