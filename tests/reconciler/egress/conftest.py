"""One `hive-egress` per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.reconciler.egress.lab import Lab, running_lab


@pytest.fixture
async def way_out(tmp_path: Path) -> AsyncIterator[Lab]:
    """A `hive-egress` that runs in this process, without a policy."""
    async with running_lab(tmp_path) as lab:
        yield lab
