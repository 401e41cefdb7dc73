"""A database in a temporary directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.store.db import Database


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database at tmp_path/hive.db."""
    async with await Database.open(tmp_path / "hive.db") as database:
        yield database
