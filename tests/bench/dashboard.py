"""The dashboard of a large hive: pages, pushes, open pages, memory. `python -m tests.bench.dashboard [small]`.

1,000 agents of backend `fake`, 10,000 messages and 500 past approvals, in a real daemon of its own process. The
clients are raw HTTP over loopback; Chromium's own figures come from its performance entries. `small` is a tenth.

The hive takes many minutes to make and is not measured: `make` as a word makes it and keeps it below /tmp, on a machine
that may be busy. The next run without that word measures this one and removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import itertools
import logging
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from api.daemon.agent_sockets import AgentSockets
from meta.config import Config
from meta.git.message import encode
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, Role
from meta.names import AgentName
from reconciler.daemon.choices import choose
from reconciler.daemon.daemon import Daemon
from tests.bench.dashboard_browser import trace
from tests.bench.figure import Figure, figure, percentile
from tests.bench.idle import usage
from tests.support.lab import Lab, discard
from tests.support.site import Site, dashboard_settings

SETTINGS = {"HIVE_RESYNC": "3600", "HIVE_HEALTH_STABLE": "0", "HIVE_FIXED_UIDS": "false", "HIVE_HEALTH_DEADLINE": "600"}
CONFIG = Config.model_validate({"resync": 3600.0, "health_stable": 0.0, "fixed_uids": False})
RANGE = 65_536
SENDERS = 8
DECIDED = 10
"""Agents of which the approvals are, before the others are made: those are copies, which no deploy can change."""
FETCHES = 20
WATCHERS = 100
LOGINS = 4
"""Of the watchers: one login may have 64 pages open."""
PUSHES = 20
PAUSE = 1.0
"""Seconds without a change before a push that is measured."""
LOAD = 50.0
"""Changes a second of the pushes under load."""
IDLE = 20.0
QUIET = 2.0
"""Seconds in which a daemon at rest uses less than a tenth of a core."""
QUIET_TRIES = 90
DEADLINE = 60.0
"""Seconds that the pages may take to open."""

_TURNS = itertools.count()


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is in the hive."""

    agents: int
    messages: int
    approvals: int
    loads: int


FULL = Counts(1_000, 10_000, 500, 10_000)
SMALL = Counts(100, 1_000, 50, 1_000)


def measure(counts: Counts = FULL) -> Iterator[Figure]:
    """All figures, in one hive."""
    with large_hive(counts) as site:
        name = f"{counts.agents} agents, {counts.messages} messages, {counts.approvals} approvals"
        yield from pages(site, name)
        yield from trace(site)
        yield from asyncio.run(pushes(site))
        yield from memory(site, counts.loads)


@contextlib.contextmanager
def large_hive(counts: Counts) -> Iterator[Site]:
    """Yield the dashboard of a hive with that much in it, and remove it: the one that was kept, else a new one."""
    lab = _lab(counts)
    if not _made(counts).exists():
        make(counts)
    try:
        lab.start()
        lab.settle()
        site = Site(lab)
        site.ready()
        _quiet(lab.pid)
        yield site
    finally:
        lab.kill()
        discard(lab.directory)
        _made(counts).unlink()


def _quiet(pid: int) -> None:
    """Wait until a new daemon has looked at every repo, which it does behind its start."""
    for _ in range(QUIET_TRIES):
        before = usage(pid)[0]
        time.sleep(QUIET)
        if usage(pid)[0] - before < QUIET / 10:
            return
    raise AssertionError("the daemon does not come to rest")


def make(counts: Counts) -> None:
    """Make a hive with that much in it by real operations, and keep it. Each part says how long it took."""
    lab = _lab(counts)
    discard(lab.directory)
    lab.directory.mkdir(mode=0o755)
    begun = time.monotonic()

    def said(what: str) -> None:
        print(f"    {what} after {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201

    try:
        lab.start()
        spawned = [f"b{number}" for number in range(DECIDED)]
        lab.spawn(*spawned)
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(lambda name: _approve(lab, name, counts.approvals // DECIDED), spawned))
        said(f"{counts.approvals} approvals")
        lab.stop()
        asyncio.run(_populate(lab.layout, counts.agents))
        said(f"{counts.agents} agents")
        lab.start()
        lab.settle()
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(lambda part: _send(lab, part, counts), range(SENDERS)))
        lab.settle()
        said(f"{counts.messages} messages")
        lab.stop()
        _made(counts).touch()
    finally:
        lab.kill()


def _lab(counts: Counts) -> Lab:
    return Lab(Path(f"/tmp/hive-bench-{counts.agents}"), {**SETTINGS, **dashboard_settings()}, backend="fake")


def _made(counts: Counts) -> Path:
    """The file that says that the hive is whole."""
    return Path(f"/tmp/hive-bench-{counts.agents}.made")


async def _populate(layout: Layout, size: int) -> None:
    """Add agents to the hive, in one commit of meta: spawning a thousand would be most of the bench."""
    logging.getLogger("reconciler").setLevel(logging.ERROR)
    serving = asyncio.get_running_loop().create_future()
    sockets = AgentSockets(layout, CONFIG, serving)
    daemon = await Daemon.open(layout, CONFIG, sockets, choose("fake", "plain"))
    serving.set_result(daemon.service)
    first = AgentName("a0")
    try:
        await daemon.service.spawns.begin(first, "bench")
        assert await daemon.service.loop.settled(first, 60)
        entries = dict(daemon.world.observer.known().agents)
        for number in range(1, size):
            name = AgentName(f"a{number}")
            for folder in (layout.applied, layout.proposed, layout.push_repo):
                shutil.copytree(folder(first), folder(name), symlinks=True)
            settings = ContainerSettings(Role.AGENT, CONFIG.uid_start + RANGE * (number + 1_000))
            entries[name] = AgentEntry(entries[first].pin, settings)
        await daemon.world.meta.main.commit(
            lambda view: (entries, dict(view.desired.tombstones)), encode("populate"), 1
        )
        await daemon.service.loop.sweep()
        assert await daemon.service.loop.settled(None, 600)
    finally:
        await daemon.close()
        await sockets.close_all()


def _send(lab: Lab, part: int, counts: Counts) -> None:
    """Send this part of the messages: each agent in turn writes to another one."""
    for number in range(part, counts.messages, SENDERS):
        to = f"a{(number + 1) % counts.agents}"
        answer = lab.ask(f"a{number % counts.agents}", cmd="send", to=to, body=f"message {number}: " + "word " * 20)
        assert answer == {"kind": "ok"}, answer


def _approve(lab: Lab, name: str, count: int) -> None:
    """Change the settings of an agent so often, and approve each change."""
    for number in range(count):
        text = f'label = "{name}, version {number}"\n'
        card = lab.post(f"/api/agents/{name}/settings", text=text, description=f"version {number}")
        assert lab.approve(int(card["id"]))["state"] == "deployed", lab.tail()


def pages(site: Site, name: str) -> Iterator[Figure]:
    """Time and bytes of the first page and of the list of agents."""
    for path, title in (("/", "needs you"), ("/agents", "agents"), ("/deploys", "deploys"), ("/messages", "messages")):
        before = usage(site.lab.pid)[0]
        texts, took = fetch(site, path, FETCHES)
        spent = (usage(site.lab.pid)[0] - before) * 1_000 / FETCHES
        yield figure(f"dashboard, {name}: page {title!r} on the server", "ms", took, at_most=100)
        yield figure("the same, and the change before it: CPU of the daemon", "ms", [spent])
        size = [len(text) / 1_000 for text in texts]
        packed = statistics.median(len(gzip.compress(text)) / 1_000 for text in texts)
        yield figure(f"dashboard, {name}: page {title!r} before compression", "kB", size, at_most=150)
        print(f"    {packed:.1f} kB after it")  # noqa: T201


def fetch(site: Site, path: str, count: int) -> tuple[list[bytes], list[float]]:
    """Return a page `count` times, and the milliseconds of each. A change before each makes the daemon read anew."""
    name, value = site.cookie
    headers = {"Cookie": f"{name}={value}", "Accept": "text/html"}
    texts, took = [], []
    connection = http.client.HTTPConnection("localhost", site.port, timeout=60)
    with contextlib.closing(connection):
        for number in range(count):
            change(site, f"fetch {number}")
            begun = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            texts.append(answer.read())
            took.append((time.perf_counter() - begun) * 1_000)
            assert answer.status == 200, (path, answer.status, texts[-1][:300])
    return texts, took


def change(site: Site, text: str) -> None:
    """Do what changes what the pages show: an agent writes to the operator. Each agent may do that 300 times."""
    answer = site.lab.ask(f"a{next(_TURNS) % 100}", cmd="send", to="operator", body=text)
    assert answer == {"kind": "ok"}, answer


async def pushes(site: Site) -> list[Figure]:
    """Milliseconds from a change to the event in each of WATCHERS open pages; what they cost when nothing happens."""
    async with asyncio.timeout(DEADLINE):
        cookies = [site.log_in() for _ in range(LOGINS)]
        watchers = [await _watch(site, number, cookies[number % LOGINS]) for number in range(WATCHERS)]
    try:
        await asyncio.sleep(2 * PAUSE)
        before, begun = usage(site.lab.pid)[0], time.perf_counter()
        await asyncio.sleep(IDLE)
        cost = (usage(site.lab.pid)[0] - before) / (time.perf_counter() - begun) * 100
        after_pause = [took for number in range(PUSHES) for took in await _push(site, watchers, f"one {number}")]
        flood = asyncio.create_task(_flood(site))
        await asyncio.sleep(PAUSE)
        loaded = [took for number in range(PUSHES) for took in await _push(site, watchers, f"under load {number}")]
        flood.cancel()
    finally:
        for _, writer in watchers:
            writer.close()
    name = f"dashboard, {WATCHERS} open pages"
    return [
        figure(f"{name}: CPU of one core when nothing happens", "%", [cost], at_most=5),
        figure(f"{name}: first event after a pause, p99", "ms", after_pause, at_most=100, at=percentile(99)),
        figure(f"{name}: an event at {LOAD:g} changes a second, p99", "ms", loaded, at_most=350, at=percentile(99)),
    ]


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _watch(site: Site, number: int, cookie: tuple[str, str]) -> Stream:
    """Open the stream of the start page, and return once it is up to date. One address may have 64 connections."""
    name, value = cookie
    own = (f"127.0.0.{2 + number % 10}", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=2**24, local_addr=own)
    head = ("GET /live HTTP/1.1", f"Host: localhost:{site.port}", f"Cookie: {name}={value}", "", "")
    writer.write("\r\n".join(head).encode())
    first = await reader.readuntil(b"\r\n")
    assert b" 200 " in first, first
    await reader.readuntil(b"\nid: ")
    return reader, writer


async def _push(site: Site, watchers: Sequence[Stream], text: str) -> list[float]:
    """Change something after a pause; return the milliseconds until each watcher had an event."""
    await asyncio.sleep(PAUSE)
    for reader, _ in watchers:
        _drain(reader)
    begun = time.perf_counter()
    done = asyncio.create_task(asyncio.to_thread(change, site, text))
    took = await asyncio.gather(*(_event(reader, begun) for reader, _ in watchers))
    await done
    return list(took)


async def _event(reader: asyncio.StreamReader, begun: float) -> float:
    async with asyncio.timeout(30):
        await reader.readuntil(b"\nid: ")
    return (time.perf_counter() - begun) * 1_000


def _drain(reader: asyncio.StreamReader) -> None:
    """Forget what has come so far."""
    reader._buffer.clear()  # type: ignore[attr-defined]


async def _flood(site: Site) -> None:
    """Change something LOAD times a second."""
    for number in range(10**6):
        await asyncio.to_thread(change, site, f"flood {number}")
        await asyncio.sleep(1 / LOAD)


def memory(site: Site, loads: int) -> Iterator[Figure]:
    """What the daemon's memory grows by while a page is loaded again and again."""
    fetch_quickly(site, loads // 10)
    before = resident(site.lab.pid)
    rate = fetch_quickly(site, loads)
    yield figure(
        f"dashboard: the daemon's memory after {loads:,} page loads more",
        "MB",
        [resident(site.lab.pid) - before],
        at_most=10,
    )
    yield figure("dashboard: page loads of one client", "/s", [rate])


def fetch_quickly(site: Site, count: int) -> float:
    """Load the start page so often, and return the loads a second."""
    name, value = site.cookie
    connection = http.client.HTTPConnection("localhost", site.port, timeout=60)
    begun = time.perf_counter()
    with contextlib.closing(connection):
        for _ in range(count):
            connection.request("GET", "/", headers={"Cookie": f"{name}={value}"})
            connection.getresponse().read()
    return count / (time.perf_counter() - begun)


def resident(pid: int) -> float:
    """Return the resident set of a process in MB."""
    pages_held = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages_held * 4_096 / 1e6


if __name__ == "__main__":
    chosen = SMALL if "small" in sys.argv[1:] else FULL
    if "make" in sys.argv[1:]:
        make(chosen)
    else:
        for one in measure(chosen):
            sys.stdout.write(f"{one}\n")
            sys.stdout.flush()
