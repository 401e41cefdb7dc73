"""The labs of the runtimes with a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from harness.runtimes.base import Runtime
from tests.contract.runtimes.claude_lab import CLAUDE, ClaudeLab
from tests.contract.runtimes.lab import Lab, processes
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.support.fake_messages_api import FakeMessages


class MakeLab(Protocol):
    def __call__(self, folder: Path, mcp: TinyMcp) -> AbstractContextManager[Lab]: ...


@contextmanager
def claude_lab(folder: Path, mcp: TinyMcp) -> Iterator[Lab]:
    if not CLAUDE.exists():
        pytest.skip("the claude CLI is missing: make claude")
    with FakeMessages() as api:
        yield ClaudeLab(folder, api, mcp)


LABS: dict[str, MakeLab] = {"claude": claude_lab}


@pytest.fixture
def mcp() -> Iterator[TinyMcp]:
    with TinyMcp() as server:
        yield server


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest, tmp_path: Path, mcp: TinyMcp) -> Iterator[Lab]:
    """The world of one agent. Nothing that it started may be left."""
    with LABS[request.param](tmp_path, mcp) as made:
        yield made
    assert list(processes(tmp_path / "home")) == []


@pytest_asyncio.fixture
async def runtime(lab: Lab) -> AsyncIterator[Runtime]:
    made = lab.make()
    yield made
    await made.close()
