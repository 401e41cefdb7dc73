"""The daemon tells systemd that it is alive, from the loop that does its work."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from api.daemon import watchdog
from meta.errors import TransientError
from reconciler.service import Service


@dataclass
class Agents:
    """A service that has a status, or trouble."""

    trouble: bool = False

    async def status(self) -> SimpleNamespace:
        if self.trouble:
            raise TransientError("the disk is full")
        return SimpleNamespace(agents=(SimpleNamespace(phase="running", pending=(7,)),))


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


async def heard(systemd: socket.socket, agents: Agents, **variables: str) -> list[str]:
    """The first two messages."""
    environment = {"NOTIFY_SOCKET": str(systemd.getsockname()), **variables}
    assert watchdog.wanted(environment)
    living = asyncio.create_task(watchdog.live(cast(Service, agents), environment))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        said = [(await loop.sock_recv(systemd, 4096)).decode() for _ in range(2)]
    living.cancel()
    await asyncio.wait({living})
    return said


async def test_signs_of_life_come_with_a_line_of_status(systemd: socket.socket) -> None:
    said = await heard(systemd, Agents(), WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))
    assert said == ["WATCHDOG=1", "STATUS=1 agent: 1 running; 1 proposal waits"]


async def test_a_daemon_in_trouble_is_alive_and_says_what_it_is(systemd: socket.socket) -> None:
    said = await heard(systemd, Agents(trouble=True), WATCHDOG_USEC="20000")
    assert said == ["WATCHDOG=1", "STATUS=the disk is full"]


def test_without_systemd_there_is_nothing_to_do() -> None:
    assert not watchdog.wanted({})


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_interval_is_half_of_what_systemd_waits(variables: dict[str, str], seconds: float | None) -> None:
    assert watchdog.interval(variables, 4711) == seconds


def test_the_line_of_status_counts_phases() -> None:
    assert watchdog.line(["running", "running", "failed"], 2) == "3 agents: 2 running, 1 failed; 2 proposals wait"
    assert watchdog.line([], 0) == "0 agents"
