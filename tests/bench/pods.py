"""What the pod protocol and a scope cost. `python -m tests.bench.pods`.

event     from a line of the CLI to each of 20 clients of the pod, beside a bare socket pair with as many bytes
landlock  what a start takes longer under a scope of 100 grants
ready     from the start of a sub-agent with runtime `script` until its socket answers, beside a bare Python
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.pod.open import Watched
from harness.pod.server import Clients, serve_pod
from harness.pod.translate import Translator
from harness.subagents.leases.store import LeaseStore
from harness.subagents.process import start_pod
from meta.process.identity import identity
from meta.process.landlock import CHANGE, READ, Grant, abi
from meta.process.spawn import NOTHING, spawn
from meta.scope.rules import WRITE, Rule, Scope
from meta.wire.live import TextDelta
from meta.wire.pod import Method
from tests.bench.figure import Figure, figure

CLIENTS = 20
EVENTS = 300
STARTS = 25
READY = 9
SECONDS = 30.0
ENV = {"PATH": os.environ["PATH"], "HOME": "/tmp"}


def measure() -> Iterator[Figure]:
    """All three."""
    yield asyncio.run(events())
    if abi():
        yield landlock()
    yield asyncio.run(ready())


async def events() -> Figure:
    """Milliseconds from a line to the last of the clients that has it."""

    async def refuse(_: Method) -> None:
        return None

    with tempfile.TemporaryDirectory(prefix="hive-bench-") as base:
        store = EventStore(Path(base) / "events.sqlite")
        clients = Clients()
        sink = Watched(Bus(store), Translator(clients.emit))
        async with contextlib.AsyncExitStack() as stack:
            path = await stack.enter_async_context(serve_pod(Path(base), clients, refuse))
            readers = []
            for _ in range(CLIENTS):
                reader, writer = await asyncio.open_unix_connection(path)
                stack.callback(writer.close)
                writer.write(b'{"method":"pause","id":1}\n')
                await reader.readline()
                readers.append(reader)
            sink.line([TextDelta(text="x")], None)
            for reader in readers:
                await reader.readline()  # turn_start
                await reader.readline()
            taken = []
            for number in range(EVENTS):
                began = time.perf_counter()
                sink.line([TextDelta(text=f"a piece of text, number {number}")], {"type": "stream_event"})
                for reader in readers:
                    await reader.readline()
                taken.append((time.perf_counter() - began) * 1000)
        store.close()
    p99 = sorted(taken)[int(0.99 * len(taken))]
    return figure(f"the first event of a turn at {CLIENTS} clients (p99)", "ms", [p99], floor=_pipe(), at_most=5)


def _pipe() -> list[float]:
    """Milliseconds that as many bytes take through a socket pair, CLIENTS times."""
    one, other = socket.socketpair()
    line = b'{"event":"text_delta","data":{"text":"a piece of text, number 7"}}\n'
    taken = []
    with one, other:
        for _ in range(EVENTS):
            began = time.perf_counter()
            for _ in range(CLIENTS):
                one.sendall(line)
                other.recv(len(line))
            taken.append((time.perf_counter() - began) * 1000)
    return [sorted(taken)[int(0.99 * len(taken))]]


def landlock() -> Figure:
    """Milliseconds of a start of `true` with 100 grants, beside one without."""
    roots = [Path(root) for root in ("/usr", "/lib", "/lib64", "/bin")] + list(Path("/usr/share").iterdir())
    places = sorted({str(root.resolve()) for root in roots})[:99]
    grants = (Grant("/dev/null", CHANGE), *(Grant(place, READ, optional=True) for place in places))

    def start(*, kept: bool) -> float:
        began = time.perf_counter()
        process = spawn(("/usr/bin/true",), ENV, "/", (NOTHING, NOTHING, NOTHING), grants=grants if kept else None)
        process.wait()
        return (time.perf_counter() - began) * 1000

    pairs = [(start(kept=True), start(kept=False)) for _ in range(STARTS)]
    kept, free = zip(*pairs, strict=True)
    return figure(f"a start under a scope of {len(grants)} grants", "ms", kept, floor=free, over_at_most=5)


async def ready() -> Figure:
    """Milliseconds until a sub-agent's socket answers."""
    taken, bare = [], []
    for number in range(READY):
        began = time.perf_counter()
        subprocess.run((sys.executable, "-c", "import asyncio, pydantic"), check=True, timeout=SECONDS)
        bare.append((time.perf_counter() - began) * 1000)
        with tempfile.TemporaryDirectory(prefix="hive-bench-") as base:
            taken.append(await _ready(Path(base), f"worker-{number}") * 1000)
    return figure("a sub-agent with `script`: from its start to ready", "ms", taken, floor=bare, at_most=300)


async def _ready(base: Path, name: str) -> float:
    for folder in ("config", "state", "own", "work"):
        (base / folder).mkdir()
    (base / "config/agent.toml").write_text('runtime = "script"\n', encoding="utf-8")
    leases, path = base / "leases.sqlite", base / f"{name}.sock"
    store = LeaseStore(leases)
    store.register("alice", identity(os.getpid()), str(base / "pod.sock"), Scope((Rule(str(base), WRITE),)))
    store.reserve(name, "alice", str(path), [Rule(str(base / "work"), WRITE)])
    env = {
        **ENV,
        "HIVE_AGENT": "alice",
        "HIVE_CONFIG": str(base / "config"),
        "HIVE_STATE": str(base / "state"),
        "HIVE_OWN": str(base / "own"),
        "HIVE_PODS": str(base),
        "HIVE_POD_LEASES": str(leases),
        "HIVE_POD_CALLBACK": str(base / "pod.sock"),
    }
    began = time.perf_counter()
    process = start_pod(name, env, base / "log")
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_unix_connection(path)
                    writer.close()
                    return time.perf_counter() - began
                await asyncio.sleep(0.002)
    finally:
        await process.end()
        process.close()


if __name__ == "__main__":
    for each in measure():
        sys.stdout.write(f"{each}\n")
