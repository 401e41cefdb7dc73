"""A dashboard behind its guard; `settings` are those of the hive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.store.database import Database
from tests.support.guarded import Site


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
async def site(tmp_path: Path, settings: dict[str, Any]) -> AsyncIterator[Site]:
    async with await Database.open(tmp_path / "hive.db") as database:
        yield Site(database, tmp_path / "http.sock", settings)
