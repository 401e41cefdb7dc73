"""Lines of a CLI through pipe, parser, event log and fan-out, in the harness. `python -m tests.bench.stream`.

The lines are those of the recorded streams, again and again. `cat` writes them, so that the harness reads them from a
pipe as it does those of a CLI. The floor is `json.loads` and an insert of the same lines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

from harness.child import Child, start_child
from harness.events.bus import Bus
from harness.events.database import SCHEMA
from harness.events.store import EventStore
from harness.runtimes.acp.process import Process
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.acp.updates import Reader
from harness.runtimes.claude.arguments import STREAM_INPUT, Launch
from harness.runtimes.claude.exchange import Meter
from harness.runtimes.claude.process import Cli
from harness.turn import Recorder
from harness.watchdog import Watchdog
from meta.agent_toml.settings import Permissions
from meta.wire.live import Note
from tests.bench.figure import Figure, figure
from tests.support.acp_player import written

STREAMS = Path("tests/harness/runtimes")
LINES = 20_000
RUNS = 5
CODEX = ("01_", "02_", "03_")
"""The recorded streams of codex, by their beginnings: a preset reads the lines of its own agent."""
WHY = "the figure is of one core; the floor shows what json.loads and SQLite alone do on this machine at this moment"

Read = Callable[[Child, Recorder], Awaitable[None]]


def measure() -> Iterator[Figure]:
    """Both runtimes, each beside its floor."""
    for name, lines, read in (("claude", claude_lines(), read_claude), ("acp", acp_lines(), read_acp)):
        floor, value, spent, lost = [], [], [], []
        with tempfile.TemporaryDirectory() as directory:
            text = Path(directory) / "lines"
            text.write_bytes(b"".join(line + b"\n" for line in lines))
            for run in range(RUNS):
                floor.append(bare(Path(directory) / f"floor{run}", lines))
                wall, cpu, missing = asyncio.run(through(Path(directory) / f"log{run}", text, read))
                value.append(LINES / wall)
                spent.append(LINES / cpu)
                lost.append(float(missing))
        what = f"lines of {name} through pipe, parser, log and fan-out"
        yield figure(what, "/s", value, floor=floor, at_least=20_000, why=WHY)
        yield figure(f"{what}, by CPU time", "/s", spent, floor=floor, at_least=20_000, why=WHY)
        yield figure(f"{what}: those that the file had no time for, of {LINES:,}", "", lost)


def claude_lines() -> list[bytes]:
    """Return lines of the claude CLI."""
    paths = sorted((STREAMS / "claude/streams").glob("*.jsonl"))
    return many([line for path in paths for line in path.read_bytes().splitlines()])


def acp_lines() -> list[bytes]:
    """Return lines of codex, which are updates: its answers belong to requests that are not made here."""
    paths = [path for path in sorted((STREAMS / "acp/streams").glob("*.jsonl")) if path.name.startswith(CODEX)]
    return many([line for path in paths for line in written(path) if b'"session/update"' in line])


def many(lines: Sequence[bytes]) -> list[bytes]:
    """Return LINES of them."""
    return list(itertools.islice(itertools.cycle(lines), LINES))


async def read_claude(child: Child, recorder: Recorder) -> None:
    """Read as a turn of the adapter does."""
    cli = Cli(child, "s", "haiku", Meter(0.0), Launch((STREAM_INPUT,), {}, Path("/"), {}))
    while (parsed := await cli.read()) is not None:
        recorder.line(parsed.items, parsed.line, repeated=parsed.repeated)
        for fact in parsed.facts:
            cli.meter.take(fact)


async def read_acp(child: Child, recorder: Recorder) -> None:
    """Read as a turn of the adapter does."""
    preset = PRESETS["codex"]
    process = Process(child, preset, Permissions())
    process.begin(Reader(preset), recorder)
    while process.running:
        await asyncio.sleep(0.005)
    process.finish()


async def through(path: Path, text: Path, read: Read) -> tuple[float, float, int]:
    """Return the seconds from the first line to the last one in a follower and in the file, wall and CPU.

    The third value is the number of lines that came faster than the file takes them: a note is in their place.
    """
    store = EventStore(path)
    bus, ready = Bus(store), asyncio.Event()
    recorder = Recorder(bus, Watchdog(600, 1800, asyncio.get_running_loop().time))
    first = bus.last

    async def follow() -> None:
        async with aclosing(bus.follow(first)) as coming:
            async for rows in coming:
                ready.set()
                if rows[-1].kind == "note" and "the end" in rows[-1].text:
                    return

    following = asyncio.create_task(follow())
    bus.emit(Note(text="ready"))
    await asyncio.wait_for(ready.wait(), 60)
    child = await start_child(["/bin/cat", text], {}, path.parent)
    began, cpu = time.perf_counter(), time.process_time()
    try:
        await read(child, recorder)
        bus.emit(Note(text="the end"))
        async with asyncio.timeout(60):
            await following
        await asyncio.to_thread(store.close)
        result = time.perf_counter() - began, time.process_time() - cpu
    finally:
        await child.end(())
    return *result, store.lost


def bare(path: Path, lines: Sequence[bytes]) -> float:
    """The floor: json.loads, and an insert in transactions of 1,000. Lines per second of CPU time."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    began = time.process_time()
    for start in range(0, LINES, 1_000):
        rows = [(1, str(json.loads(line).get("type")), line.decode()) for line in lines[start : start + 1_000]]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO events (ts, kind, payload_json) VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    result = LINES / (time.process_time() - began)
    connection.close()
    return result


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()
