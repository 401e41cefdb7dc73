"""The labs of the runtimes with a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from harness.runtimes.base import Runtime
from tests.contract.runtimes.acp_lab import WORLDS, AcpLab
from tests.contract.runtimes.claude_lab import CLAUDE, ClaudeLab
from tests.contract.runtimes.lab import Lab, processes
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.support.fake_messages_api import FakeMessages
from tests.support.fake_openai_api import FakeOpenAI


class MakeLab(Protocol):
    def __call__(self, folder: Path, mcp: TinyMcp) -> AbstractContextManager[Lab]: ...


@contextmanager
def claude_lab(folder: Path, mcp: TinyMcp) -> Iterator[Lab]:
    if not CLAUDE.exists():
        pytest.skip("the claude CLI is missing: make claude")
    with FakeMessages() as api:
        yield ClaudeLab(folder, api, mcp)


def acp_lab(name: str) -> MakeLab:
    @contextmanager
    def make(folder: Path, mcp: TinyMcp) -> Iterator[Lab]:
        if not WORLDS[name].path.exists():
            pytest.skip(f"the agent {name} is missing: make {name}")
        with FakeOpenAI() as api:
            yield AcpLab(name, folder, api, mcp)

    return make


LABS: dict[str, MakeLab] = {"claude": claude_lab, **{name: acp_lab(name) for name in WORLDS}}


_LONG = (pytest.mark.full, pytest.mark.timeout(300))
MARKS = {"gemini": _LONG, "opencode": _LONG}
"""Their own retries and starts take minutes."""


_EACH_RUN = (
    "gives_the_text",
    "calls_a_tool",
    "not_asked_before",
    "once_for_one_answer",
    "resumes",
    "interrupted",
    "fails_has_its_ending",
    "without_a_login",
    "compacted",
    "killed",
    "ends_the_shells",
)
"""The tests that run with codex each time. The others need nothing of it that these do not."""


_WAITS_BY_ITSELF = "test_the_model_is_not_asked_before_the_cli_has_hives_tools[claude]"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (
            "test_runtimes.py" in item.nodeid
            and "[codex" in item.nodeid
            and not any(word in item.name for word in _EACH_RUN)
        ):
            item.add_marker(pytest.mark.full)
        if item.name == _WAITS_BY_ITSELF:
            item.add_marker(pytest.mark.full)


@pytest.fixture
def mcp() -> Iterator[TinyMcp]:
    with TinyMcp() as server:
        yield server


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in LABS])
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
