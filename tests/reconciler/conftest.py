"""A database in a temporary directory, a broker on it, and a daemon that does nothing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import AgentName
from reconciler.messaging.broker import Broker
from reconciler.store.database import Database
from tests.support.broker import broker_on

if TYPE_CHECKING:
    from reconciler.daemon.daemon import Daemon


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database at tmp_path/hive.db."""
    async with await Database.open(tmp_path / "hive.db") as database:
        yield database


@pytest.fixture
async def broker(db: Database) -> AsyncIterator[Broker]:
    """A broker for the manager, alice and bob, whose clock stands still."""
    service = broker_on(db)
    yield service
    await service.close()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon with backend `fake` that has alice and has not begun to look by itself."""
    from api.daemon.agent_sockets import AgentSockets  # a second of imports that the other tests do without
    from reconciler.daemon.choices import choose
    from reconciler.daemon.daemon import Daemon

    layout, config = Layout(tmp_path / "s", tmp_path / "r"), Config.model_validate({"health_stable": 0.0})
    serving = asyncio.get_running_loop().create_future()
    sockets, alice = AgentSockets(layout, config, serving), AgentName("alice")
    made = await Daemon.open(layout, config, sockets, choose("fake", "plain"))
    serving.set_result(made.service)
    await made.service.spawns.begin(alice, "test")
    assert await made.service.loop.settled(alice, 30)
    yield made
    await made.close()
    await sockets.close_all()
