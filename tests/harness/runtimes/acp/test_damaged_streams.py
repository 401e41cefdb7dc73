"""Recorded streams with lines cut, moved, doubled, left out and corrupted: no line is lost, and no error gets out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.child import Child, Line
from harness.events.encoding import encode_line
from harness.runtimes.acp.adapter import AcpRuntime
from harness.runtimes.acp.peer import Peer
from harness.runtimes.acp.process import Process
from harness.runtimes.acp.table import PRESETS, Preset
from harness.runtimes.acp.updates import Reader
from harness.runtimes.base import Ending, TurnOutcome
from meta.agent_toml.settings import Permissions
from meta.wire.live import Stream, decode_event
from tests.support.acp_player import written

if TYPE_CHECKING:
    from tests.harness.runtimes.acp.conftest import Seen, Stage

STREAMS = sorted((Path(__file__).parent / "streams").glob("*.jsonl"))
LINES = [line for stream in STREAMS for line in written(stream)]
PRESET = st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__)
SLICE = st.integers(0, len(LINES) - 1).map(lambda at: LINES[at : at + 25])


def damage(line: bytes, how: int, at: int) -> bytes:
    at %= max(1, len(line))
    match how:
        case 0:
            return line
        case 1:
            return line[:at]
        case 2:
            return line[:at] + b"\xff" + line[at + 1 :]
        case 3:
            return line.replace(b'"text"', b"5", 1)
        case 4:
            return line.replace(b"{", b"[", 1)
        case 5:
            return line.replace(b'"text": "', b'"text": "\\ud800', 1)
        case _:
            return line.replace(b'"sessionUpdate": "', b'"sessionUpdate": "x', 1)


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    lines = draw(SLICE)
    order = draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=len(lines)))
    each = st.tuples(st.sampled_from(range(7)), st.integers(0, 4000))
    return [damage(lines[at], *draw(each)).replace(b"\n", b" ") for at in order]


class Mouth:
    """A child whose lines are given, and which takes what it is told."""

    stderr = ""
    running = True

    def __init__(self, lines: list[bytes]) -> None:
        self.left = deque(lines)

    def write(self, data: bytes) -> bool:
        return True

    async def lines(self) -> AsyncIterator[Line]:
        while self.left:
            await asyncio.sleep(0)
            yield Line(self.left.popleft())

    async def wait(self) -> int:
        await asyncio.sleep(1)
        return 0

    async def end(self, ladder: object = ()) -> int:
        return 0


def mouth(lines: list[bytes], preset: Preset) -> Process:
    return Process(cast("Child", Mouth(lines)), preset, Permissions())


@given(PRESET, damaged())
def test_the_reader_and_the_peer_raise_nothing(preset: Preset, lines: list[bytes]) -> None:
    reader = Reader(preset)

    class Owner:
        def notified(self, method: str, params: dict[str, Any]) -> None:
            reader.read(params.get("update"))

        def asked(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
            reader.ask(params.get("toolCall"))
            return None

    peer = Peer(lambda data: True, Owner())
    for line in lines:
        peer.feed(line)
    reader.flush()


@given(PRESET, damaged())
@settings(max_examples=60, deadline=None)
def test_each_line_reaches_the_sink_once_and_in_order_and_can_be_stored(preset: Preset, lines: list[bytes]) -> None:
    from tests.harness.runtimes.acp.conftest import Seen

    seen = Seen()
    _run(_hear(lines, preset, seen))
    assert len(seen.lines) - _last(seen) == len([line for line in lines if line.strip()])
    for items, line in seen.lines:
        event = Stream(items=tuple(items), line=line)
        assert decode_event(encode_line(items, line).encode()) == event


@given(lines=damaged())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_turn_with_a_damaged_agent_ends_with_an_outcome(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]
) -> None:
    async def start(*_: object) -> Process:
        return mouth(lines, PRESETS["acp"])

    monkeypatch.setattr("harness.runtimes.acp.adapter.start_process", start)
    outcome = _run(_turn(AcpRuntime(stage.spec("acp", command=["agent"]), PRESETS["acp"]), stage))
    assert outcome.ending in set(Ending)


@pytest.mark.parametrize(("size", "kept"), [(10, 256), (300 * 1024, 3)])
def test_of_the_lines_between_turns_the_last_ones_are_kept_by_number_and_bytes(size: int, kept: int) -> None:
    from tests.harness.runtimes.acp.conftest import Seen

    async def wait_and_begin() -> Seen:
        process = mouth([b"%0*d" % (size, number) for number in range(300)], PRESETS["acp"])
        while process.running:
            await asyncio.sleep(0.1)
        seen = Seen()
        process.begin(Reader(PRESETS["acp"]), seen)
        await process.end()
        return seen

    seen = _run(wait_and_begin())
    assert (len(seen.lines), seen.notes) == (kept, [f"{300 - kept} lines of the agent between turns were not kept"])


def _last(seen: Seen) -> int:
    """Return 1 if the sink got the whole texts at the end of the turn, which are no line."""
    return int(bool(seen.lines) and seen.lines[-1][1] is None and bool(seen.lines[-1][0]))


async def _hear(lines: list[bytes], preset: Preset, seen: Seen) -> None:
    process = mouth(lines, preset)
    process.begin(Reader(preset), seen)
    while process.running:
        await asyncio.sleep(0.1)
    process.finish()
    await process.end()


async def _turn(runtime: AcpRuntime, stage: Stage) -> TurnOutcome:
    try:
        return await stage.turn(runtime)
    finally:
        await runtime.close()


def _run(work: Any) -> Any:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(work)
