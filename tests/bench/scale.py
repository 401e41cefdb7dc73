"""A pass with nothing to do, one changed agent, and memory, by number of agents (fake backend)."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from api.daemon.agent_sockets import AgentSockets
from meta.config import Config
from meta.git.message import encode
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, Role
from meta.names import AgentName
from reconciler.backends.fake import FakeBackend
from reconciler.daemon.choices import choose
from reconciler.daemon.daemon import Daemon
from tests.bench.figure import Figure, figure
from tests.bench.idle import watches

SIZES = (1, 10, 100, 1000)
RUNS = 7
CONFIG = Config.model_validate({"resync": 3600.0, "health_stable": 0.0, "fixed_uids": False})


def measure() -> Iterator[Figure]:
    """All sizes, each in a hive of its own."""
    logging.getLogger("reconciler").setLevel(logging.ERROR)  # most agents here are half a copy, and it says so
    single: dict[int, list[float]] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="hb") as name:
            yield from asyncio.run(_size(Path(name), size, single))
    yield figure("one changed agent, 1000 beside 10 agents", "ms", single[1000], floor=single[10], ratio_at_most=1.2)


async def _size(directory: Path, size: int, single: dict[int, list[float]]) -> list[Figure]:
    layout = Layout(directory / "s", directory / "r")
    serving = asyncio.get_running_loop().create_future()
    sockets = AgentSockets(layout, CONFIG, serving)
    daemon = await Daemon.open(layout, CONFIG, sockets, choose("fake", "plain"))
    serving.set_result(daemon.service)
    try:
        await populate(daemon, layout, size)
        passes, floor, children, memory = [], [], [], []
        started: list[str] = []
        sys.addaudithook(lambda event, _: started.append(event) if event in ("subprocess.Popen", "os.fork") else None)
        for _ in range(RUNS):
            passes.append(await _timed(daemon))
            floor.append(_stats(layout, size))
            memory.append(_memory())
            children.append(float(len(started)))
            started.clear()
        single[size] = [await _changed(daemon, f"a{size - 1 if size > 1 else 0}") for _ in range(RUNS)]
        made = [
            figure(
                f"pass with nothing to do, {size} agents",
                "ms",
                passes,
                floor=floor,
                at_most=100.0 if size == SIZES[-1] else None,
            ),
            figure(f"processes started by a pass, {size} agents", "", children, at_most=0.0),
            figure(f"one changed agent, {size} agents", "ms", single[size]),
        ]
        if size == SIZES[-1]:
            made.append(figure(f"daemon's memory with {size} agents (this process, RSS)", "MB", memory, at_most=150.0))
            made.append(figure(f"inotify watches with {size} agents", "", [await _watched(daemon, layout, size)]))
        return made
    finally:
        await daemon.close()
        await sockets.close_all()


async def _watched(daemon: Daemon, layout: Layout, size: int) -> float:
    """inotify watches once the daemon has begun to watch and sets no more; all have the first one's proposed repos."""
    for number in range(1, size):
        name = layout.proposed(AgentName(f"a{number}"))
        shutil.rmtree(name)
        shutil.copytree(layout.proposed(AgentName("a0")), name, symlinks=True)
        shutil.rmtree(layout.push_repo(AgentName(f"a{number}")))
        shutil.copytree(layout.push_repo(AgentName("a0")), layout.push_repo(AgentName(f"a{number}")))
    await daemon.start()
    held = 0
    for _ in range(60):
        await asyncio.sleep(1)
        before, held = held, watches()
        if held and held == before:
            break
    return float(held)


async def populate(daemon: Daemon, layout: Layout, size: int) -> None:
    """`size` agents: one is spawned, the others are copies of its repo, committed to meta and reconciled."""
    service, world = daemon.service, daemon.world
    first = AgentName("a0")
    await service.spawns.begin(first, "bench")
    assert await service.loop.settled(first, 60)
    known = world.observer.known().agents
    entries = dict(known)
    for number in range(1, size):
        name = AgentName(f"a{number}")
        shutil.copytree(layout.applied(first), layout.applied(name))
        layout.proposed_config(name).mkdir(parents=True)
        settings = ContainerSettings(Role.AGENT, CONFIG.uid_start + 65_536 * (number + 1))
        entries[name] = AgentEntry(known[first].pin, settings)
    # One commit for all: a thousand would be most of the bench, and no part of what it measures.
    await world.meta.main.commit(lambda view: (entries, dict(view.desired.tombstones)), encode("populate"), 1)
    await service.loop.sweep()
    assert await service.loop.settled(None, 600)


async def _timed(daemon: Daemon) -> float:
    began = time.perf_counter()
    made = await daemon.reconciler.plan()
    assert made.empty
    return (time.perf_counter() - began) * 1000


def _stats(layout: Layout, size: int) -> float:
    """The floor: eight stat calls per agent."""
    folders = [str(layout.applied_git(AgentName(f"a{number}"))) for number in range(size)]
    names = ("approved", "building", "deployed", "failed", "denied", "proposal")
    began = time.perf_counter()
    for folder in folders:
        for name in names:
            os.path.exists(f"{folder}/refs/tags/{name}")  # noqa: PTH110 - pathlib would be most of the cost
        os.path.exists(f"{folder}/HEAD")  # noqa: PTH110
        os.path.exists(f"{folder}/refs/heads")  # noqa: PTH110
    return (time.perf_counter() - began) * 1000


async def _changed(daemon: Daemon, name: str) -> float:
    """A container that ended: count the crash, start it again, pass the gate."""
    agent = AgentName(name)
    await daemon.world.memory.change(agent, crashes=0, start_after=0.0)
    backend = daemon.world.observer._backend
    assert isinstance(backend, FakeBackend)
    backend.crash(agent)
    began = time.perf_counter()
    for _ in range(3):
        await daemon.world.memory.change(agent, start_after=0.0)
        if await daemon.reconciler.reconcile(agent) is None:
            break
    return (time.perf_counter() - began) * 1000


def _memory() -> float:
    """Resident set of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
