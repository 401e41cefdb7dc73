"""The connection to the system bus, where there is none: what is logged, and how often."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from meta.errors import TransientError
from reconciler.backends.nixos import bus as module
from reconciler.backends.nixos.bus import Bus
from reconciler.common.tasks import Background, Ended


async def nothing() -> None:
    """Nothing to read."""


async def test_a_bus_that_stays_away_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BACKOFF", (0.001, 0.001))
    monkeypatch.setattr(module, "CONNECT_SECONDS", 5.0)
    attempts = 0
    many = asyncio.Event()

    def down() -> None:
        nonlocal attempts
        attempts += 1
        if attempts >= 5:
            many.set()

    away = Bus(Background(), f"unix:path={tmp_path / 'nothing'}")
    with caplog.at_level(logging.INFO):
        opening = asyncio.create_task(away.open((), lambda _: None, nothing, down))
        await asyncio.wait_for(many.wait(), 5)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await away.close()
    assert attempts >= 5
    (told,) = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert told.startswith("the system bus is not connected (")
    assert not away.ready


async def test_another_reason_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BACKOFF", (0.001, 0.001))
    place, many, attempts = tmp_path / "bus", asyncio.Event(), 0

    def down() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            place.touch()  # no socket any more answers otherwise than none at all
        if attempts >= 6:
            many.set()

    away = Bus(Background(), f"unix:path={place}")
    opening = asyncio.create_task(away.open((), lambda _: None, nothing, down))
    await asyncio.wait_for(many.wait(), 5)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await away.close()
    told = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert len(told) == len(set(told)) == 2


async def test_to_open_it_ends_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)
    with pytest.raises(TransientError, match="cannot be reached") as caught:
        await Bus(Background(), f"unix:path={tmp_path / 'nothing'}").open((), lambda _: None, nothing, lambda: None)
    assert "dbus" in caught.value.hint


async def test_a_mistake_in_what_keeps_the_connection_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)
    background = Background()

    def down() -> None:
        raise LookupError("on purpose")

    with pytest.raises(TransientError, match="cannot be reached"):
        await Bus(background, f"unix:path={tmp_path / 'nothing'}").open((), lambda _: None, nothing, down)
    assert background.failure == Ended("system bus", "LookupError: on purpose")
