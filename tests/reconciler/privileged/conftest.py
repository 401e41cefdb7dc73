"""One stage per test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reconciler.privileged.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A fresh host."""
    root = tmp_path / "host"
    root.mkdir()
    return Stage(root)
