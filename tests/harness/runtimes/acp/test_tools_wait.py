"""An agent gets no message before it has hive's tools: without them it could answer nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from harness.runtimes.acp import tools_wait
from harness.runtimes.base import Ending, McpEndpoint
from harness.runtimes.listings import Listings

if TYPE_CHECKING:
    from tests.harness.runtimes.acp.conftest import Stage


class Watched(Listings):
    """Listings that show when a turn waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()

    @override
    async def wait(self, count: int, seconds: float) -> bool:
        self.waited_for.set()
        return await super().wait(count, seconds)


def asked(stage: Stage) -> bool:
    """Return True if the agent was given a message."""
    return "'asked'" in str(stage.seen.lines)


@pytest.fixture
def listings() -> Watched:
    return Watched()


@pytest.fixture
def endpoint(listings: Watched) -> McpEndpoint:
    return McpEndpoint("http://127.0.0.1:1/mcp", "t0k", listings)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools_wait, "SECONDS", 0.05)
    monkeypatch.setattr(tools_wait, "UNKNOWN_SECONDS", 0.05)


async def test_the_prompt_waits_until_the_agent_has_the_tools(
    stage: Stage, listings: Watched, endpoint: McpEndpoint
) -> None:
    runtime = stage.runtime("codex", "tools", mcp=endpoint)
    turn = asyncio.create_task(stage.turn(runtime))
    await listings.waited_for.wait()
    assert not asked(stage)
    listings.add()
    assert (await turn).ending is Ending.OK
    assert asked(stage)


@pytest.mark.usefixtures("hasty")
async def test_an_agent_without_the_tools_gets_no_prompt_and_the_message_waits(
    stage: Stage, listings: Watched, endpoint: McpEndpoint
) -> None:
    runtime = stage.runtime("codex", "tools", mcp=endpoint)
    listings.fail("hive is not running")
    outcome = await stage.turn(runtime)
    assert (outcome.ending, asked(stage)) == (Ending.PARKED, False)
    assert "did not fetch hive's tools within 0.05 s" in outcome.reason
    assert "hive is not running" in outcome.reason
    assert "`hive restart alice`" in outcome.reason
    assert runtime._process is None


@pytest.mark.usefixtures("hasty")
async def test_what_an_earlier_process_fetched_does_not_count(
    stage: Stage, listings: Watched, endpoint: McpEndpoint
) -> None:
    runtime = stage.runtime("codex", "tools", mcp=endpoint)
    listings.add()
    assert (await stage.turn(runtime)).ending is Ending.PARKED


@pytest.mark.usefixtures("hasty")
async def test_a_further_conversation_in_the_same_process_fetches_the_tools_again(
    stage: Stage, listings: Watched, endpoint: McpEndpoint
) -> None:
    runtime = stage.runtime("codex", "tools", mcp=endpoint)
    turn = asyncio.create_task(stage.turn(runtime))
    await listings.waited_for.wait()
    listings.add()
    first = await turn
    assert (await stage.turn(runtime, session=first.session)).ending is Ending.OK
    assert (await stage.turn(runtime)).ending is Ending.PARKED


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("preset", ["acp", "claude-acp"])
async def test_an_agent_that_was_not_tried_goes_on_without_them_and_that_is_noted_once(
    stage: Stage, endpoint: McpEndpoint, preset: str
) -> None:
    runtime = stage.runtime(preset, "tools", mcp=endpoint)
    assert (await stage.turn(runtime)).ending is Ending.OK
    assert (await stage.turn(runtime)).ending is Ending.OK
    assert [note for note in stage.seen.notes if "did not fetch" in note] == stage.seen.notes
    assert len(stage.seen.notes) == 1


async def test_an_agent_that_cannot_use_them_is_not_waited_for(stage: Stage, endpoint: McpEndpoint) -> None:
    runtime = stage.runtime("codex", "good", mcp=endpoint)
    async with asyncio.timeout(15):
        assert (await stage.turn(runtime)).ending is Ending.OK
    assert stage.seen.notes == ["the agent cannot use MCP servers over http: hive is missing"]


async def test_a_turn_that_waits_for_the_tools_can_be_cancelled(
    stage: Stage, listings: Watched, endpoint: McpEndpoint
) -> None:
    runtime = stage.runtime("codex", "tools", mcp=endpoint)
    turn = asyncio.create_task(stage.turn(runtime))
    await listings.waited_for.wait()
    await runtime.interrupt()
    assert (await turn).ending is Ending.CANCELLED


async def test_a_wait_for_the_tools_ends_before_the_agent_counts_as_dead(stage: Stage, endpoint: McpEndpoint) -> None:
    runtime = stage.runtime("codex", "tools", mcp=endpoint, limits={"silence_seconds": 2})
    outcome = await stage.turn(runtime)
    assert (outcome.ending, asked(stage)) == (Ending.PARKED, False)
    assert "was not ready for the message within 1.6 s" in outcome.reason
    assert runtime._process is None
