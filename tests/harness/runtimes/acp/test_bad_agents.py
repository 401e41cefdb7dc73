"""Agents that behave badly: each turn ends with a clear outcome, no line is lost, and nothing is left running."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.runtimes.acp import session
from harness.runtimes.acp.adapter import AcpRuntime
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import Ending
from meta.errors import HiveError
from meta.wire.live import Unknown

if TYPE_CHECKING:
    from harness.runtimes.acp.process import Process
    from harness.runtimes.acp.table import Preset
    from harness.runtimes.acp.updates import Reader
    from tests.harness.runtimes.acp.conftest import Stage


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_an_agent_that_is_not_installed_parks_the_message_and_says_what_to_install(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = stage.runtime("gemini")
    monkeypatch.setitem(runtime._spec.enclosure.env, "PATH", "/nonexistent")
    outcome = await stage.turn(runtime)
    assert outcome.ending is Ending.PARKED
    assert "gemini is not installed" in outcome.reason
    with pytest.raises(HiveError, match="not installed") as error:
        await runtime.version()
    assert "npm install -g @google/gemini-cli" in error.value.hint


async def test_a_command_that_is_not_there_is_a_problem_before_the_first_turn(stage: Stage) -> None:
    runtime = AcpRuntime(stage.spec("acp", command=["/nowhere/agent"]), PRESETS["acp"])
    with pytest.raises(HiveError, match="/nowhere/agent is not installed") as error:
        await runtime.version()
    assert "set `command` in agent.toml" in error.value.hint


async def test_an_agent_that_ends_at_once_parks_the_message_with_its_last_words(stage: Stage) -> None:
    outcome = await stage.turn(stage.runtime("acp", "exits"))
    assert outcome.ending is Ending.PARKED
    assert "ended with exit code 3: no such config" in outcome.reason


async def test_an_agent_that_never_answers_parks_the_message(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "START_SECONDS", 0.2)
    outcome = await stage.turn(stage.runtime("acp", "mute"))
    assert (outcome.ending, "did not answer initialize" in outcome.reason) == (Ending.PARKED, True)


async def test_an_agent_of_another_version_of_the_protocol_is_refused(stage: Stage) -> None:
    outcome = await stage.turn(stage.runtime("acp", "newer"))
    assert (outcome.ending, "speaks version 3" in outcome.reason) == (Ending.PARKED, True)


async def test_garbage_is_kept_line_by_line_and_the_turn_is_good(stage: Stage) -> None:
    outcome = await stage.turn(stage.runtime("acp", "garbage"))
    assert (outcome.ending, stage.seen.texts) == (Ending.OK, ["still here"])
    unknown = [item.name for item in stage.seen.items if isinstance(item, Unknown)]
    assert unknown[:4] == ["text", "other", "other", "other"]
    assert unknown[4:] == ["text", "text", "stray", "update", "agent_message_chunk", "made_up", "fs/read_text_file"]


async def test_a_line_of_50_mb_is_cut_and_the_turn_is_good(stage: Stage) -> None:
    outcome = await stage.turn(stage.runtime("acp", "long"))
    assert outcome.ending is Ending.OK
    assert any(item == Unknown(name="line of 50000008 bytes") for item in stage.seen.items)
    assert max(len(str(line)) for _, line in stage.seen.lines) < 70_000


async def test_an_unknown_stop_reason_is_refused_and_named(stage: Stage) -> None:
    outcome = await stage.turn(stage.runtime("acp", "stops"))
    assert (outcome.ending, "paused_by_the_moon" in outcome.reason) == (Ending.REFUSED, True)


async def test_an_agent_that_dies_in_a_turn_is_a_crash_and_the_next_turn_starts_another(stage: Stage) -> None:
    runtime = stage.runtime("acp", "dies")
    for _ in range(2):
        outcome = await stage.turn(runtime, session="s1")
        assert (outcome.ending, outcome.reason) == (Ending.CRASHED, "the agent ended with exit code -9: out of memory")


async def test_an_agent_that_ignores_everything_is_ended_with_its_shell(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = stage.runtime("acp", "deaf")
    monkeypatch.setattr(runtime, "_preset", _hasty(runtime._preset))
    turn = asyncio.create_task(stage.turn(runtime))
    while not (shown := [str(line) for _, line in stage.seen.lines if "pid " in str(line)]):
        await asyncio.sleep(0.01)
    child = int(shown[0].partition("pid ")[2].split("'")[0])
    assert alive(child)
    await runtime.interrupt()
    assert (await turn).ending is Ending.CANCELLED
    assert not alive(child)


async def test_a_turn_that_is_cut_off_ends_the_agent(stage: Stage) -> None:
    runtime = stage.runtime("acp", "mute")
    turn = asyncio.create_task(stage.turn(runtime))
    while runtime._process is None:
        await asyncio.sleep(0.01)
    pid = runtime._process._child.pid
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert not alive(pid)


async def test_an_interrupt_before_the_agent_is_ready_ends_the_turn(stage: Stage) -> None:
    runtime = stage.runtime("acp", "mute")
    turn = asyncio.create_task(stage.turn(runtime))
    while runtime._process is None:
        await asyncio.sleep(0.01)
    await runtime.interrupt()
    assert (await turn).ending is Ending.CANCELLED


async def test_an_answer_that_was_there_before_the_interrupt_is_kept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = stage.runtime("acp", "good")
    follow = runtime._follow

    async def late(process: Process, reader: Reader, answer: asyncio.Future[object]) -> str | None:
        await asyncio.wait({answer})
        await runtime.interrupt()
        return await follow(process, reader, answer)

    monkeypatch.setattr(runtime, "_follow", late)
    assert (await stage.turn(runtime)).ending is Ending.OK


async def test_silence_of_the_model_is_an_outage_before_it_is_a_dead_agent(stage: Stage) -> None:
    runtime = stage.runtime("acp", "deaf", limits={"silence_seconds": 0.5})
    runtime._preset = _hasty(runtime._preset)
    outcome = await stage.turn(runtime)
    assert (outcome.ending, outcome.reason) == (Ending.PARKED, "nothing came from the model for 0.4 s")


async def test_the_environment_of_the_harness_does_not_reach_an_agent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVE_SECRET_OF_A_TEST", "x")
    runtime = stage.runtime("acp", "good")
    await stage.turn(runtime)
    assert runtime._process is not None
    environment = Path(f"/proc/{runtime._process._child.pid}/environ").read_bytes()
    assert b"HIVE_SECRET_OF_A_TEST" not in environment
    assert os.environ["HIVE_SECRET_OF_A_TEST"]


def _hasty(preset: Preset) -> Preset:
    return replace(preset, cancel_seconds=0.2, end_seconds=0.2)
