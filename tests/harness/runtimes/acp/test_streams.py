"""The streams that real agents wrote, played to the runtime: outcome, texts, tools and tokens of each turn."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Ending, TurnOutcome
from meta.wire.live import Notice, Text

if TYPE_CHECKING:
    from harness.runtimes.acp.adapter import AcpRuntime
    from tests.harness.runtimes.acp.conftest import Stage

STREAMS = Path(__file__).parent / "streams"
MODEL = {"opencode": "fake/gpt-fake"}


def agent(stage: Stage, name: str) -> tuple[AcpRuntime, str | None]:
    """Return the runtime of the agent whose stream begins with `name`, and the model that it needs."""
    path = next(STREAMS.glob(f"{name}_*.jsonl"))
    who = path.name.split("_")[1]
    preset = {"claude": "claude-acp"}.get(who, who)
    return stage.runtime(preset, "replay", str(path), str(stage.folder / "state")), MODEL.get(preset)


async def play(stage: Stage, name: str, turns: int = 1) -> list[TurnOutcome]:
    """Return the outcomes of turns with the agent whose stream begins with `name`."""
    runtime, model = agent(stage, name)
    outcomes: list[TurnOutcome] = []
    for _ in range(turns):
        session = outcomes[-1].session if outcomes else None
        outcomes.append(await stage.turn(runtime, session=session, model=model))
    return outcomes


def prompted(runtime: AcpRuntime) -> bool:
    """Return True if a prompt was sent and not answered."""
    process = runtime._process
    return process is not None and any(method == "session/prompt" for method, _ in process.peer._open.values())


async def interrupted(stage: Stage, name: str, sign: str, before: int = 0) -> TurnOutcome:
    """Return the outcome of a turn after `before` others, interrupted at a line with `sign`, or once prompted."""
    runtime, model = agent(stage, name)
    session = None
    for _ in range(before):
        session = (await stage.turn(runtime, session=session, model=model)).session
    stage.seen.lines.clear()
    turn = asyncio.create_task(stage.turn(runtime, session=session, model=model))
    while not (any(sign in str(line) for _, line in stage.seen.lines) if sign else prompted(runtime)):
        await asyncio.sleep(0.01)
    await runtime.interrupt()
    return await turn


async def test_a_tool_and_a_text_of_codex(stage: Stage) -> None:
    [outcome] = await play(stage, "01")
    assert (outcome.ending, outcome.model) == (Ending.OK, "gpt-fake")
    assert (outcome.tokens.input, outcome.tokens.output, outcome.tokens.cached, outcome.tokens.context) == (
        20,
        10,
        0,
        15,
    )
    assert stage.seen.texts == ["done: ping"]
    assert stage.seen.tools == ["mcp.hive.ping", "think"]


async def test_a_failed_turn_of_codex_is_told_by_the_missing_usage_and_the_next_is_good(stage: Stage) -> None:
    failed, good = await play(stage, "02", turns=2)
    assert (failed.ending, failed.reason) == (
        Ending.PARKED,
        "exceeded retry limit, last status: 429 Too Many Requests",
    )
    assert (good.ending, stage.seen.texts) == (Ending.OK, ["next turn"])


async def test_a_turn_that_codex_ends_after_a_refusal_counts_as_refused(stage: Stage) -> None:
    [outcome] = await play(stage, "03")
    assert outcome.ending is Ending.REFUSED


async def test_claude_names_the_kind_of_its_error_and_the_dollars_of_a_turn(stage: Stage) -> None:
    good, limited = await play(stage, "04", turns=2)
    assert (good.ending, good.tokens.cost_dollars, good.model) == (Ending.OK, 0.0012, "claude-opus-5-5")
    assert stage.seen.tools == ["mcp__hive__ping"]
    assert limited.ending is Ending.PARKED


async def test_a_cancel_while_a_permission_waits_ends_the_turn_as_cancelled(stage: Stage) -> None:
    outcome = await interrupted(stage, "05", "session/request_permission")
    assert outcome.ending is Ending.CANCELLED


async def test_a_process_killed_in_a_tool_is_a_crash_and_its_conversation_goes_on(stage: Stage) -> None:
    first, killed, after = await play(stage, "06", turns=3)
    assert [one.ending for one in (first, killed, after)] == [Ending.OK, Ending.CRASHED, Ending.OK]
    assert killed.reason == "the agent ended with exit code -9"
    assert after.session == first.session
    assert stage.seen.texts == ["one", "after the kill"]  # the replayed history is not shown again


async def test_gemini_shows_a_tool_only_by_asking_for_it(stage: Stage) -> None:
    [outcome] = await play(stage, "07")
    assert (outcome.ending, stage.seen.tools, stage.seen.texts) == (Ending.OK, ["mcp_hive_ping"], ["done: ping"])
    assert (outcome.tokens.input, outcome.tokens.output, outcome.tokens.context) == (20, 10, None)


async def test_a_turn_that_nobody_cancelled_is_not_cancelled_whatever_the_agent_says(stage: Stage) -> None:
    [outcome] = await play(stage, "08")
    assert outcome.ending is Ending.REFUSED


async def test_a_cancel_that_opencode_calls_a_good_end_is_a_cancel(stage: Stage) -> None:
    outcome = await interrupted(stage, "09", "", before=1)
    assert outcome.ending is Ending.CANCELLED


async def test_the_pieces_of_a_text_are_marked_and_its_whole_is_kept(stage: Stage) -> None:
    await play(stage, "01")
    kept = [(items, line) for items, line in stage.seen.lines if line not in stage.seen.repeated]
    assert Text(text="done: ping") in [item for items, _ in kept for item in items]
    assert not [line for items, line in kept if "agent_message_chunk" in str(line) and not isinstance(items[0], Notice)]


@pytest.mark.parametrize("path", sorted(STREAMS.glob("*.jsonl")), ids=lambda path: path.name[:2])
def test_a_stream_says_what_wrote_it(path: Path) -> None:
    assert '"recorded": "2026-11-' in path.read_text().splitlines()[0]
