"""The fixture of the tests about declared agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reconciler.agents.declared.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)
