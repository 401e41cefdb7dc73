"""A database in a temporary directory, and a broker on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.messaging.broker import Broker
from reconciler.store.database import Database
from tests.support.broker import broker_on


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
