"""Count the bytes and the inodes of agents' files.

`du` counts those that have a name, `unlinked.py` counts the unlinked files that processes hold open. Each is a process
of its own, because an agent may make millions of files. `du` follows no symlink and enters no other file system. Each
gets a deadline and an address space. If one cannot read something or does not end in time, the sum is incomplete.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta.errors import HiveError
from meta.layout import Layout
from meta.names import MANAGER, AgentName
from meta.process.run import Completed, run
from reconciler.plan.observed import Held

TOGETHER = 32
"""Agents that one `du` counts. If it meets a problem, each of them is counted alone."""
TOGETHER_SECONDS = 5.0
ALONE_SECONDS = 20.0
MEMORY = 512 * 2**20
"""Address space of one `du`, which remembers every file that has several names."""

Count = Callable[[AgentName], Awaitable[Held | None]]
"""Counts one agent's files for a daemon that may not read them; None: it may."""

_LINE = re.compile(r"(\d+)\t(.+)")
_VANISHED = "No such file or directory"
_UNLINKED = Path(__file__).resolve().parent / "unlinked.py"
_NO_PIDS: Mapping[AgentName, int] = {}


@dataclass(frozen=True, slots=True)
class Measured:
    """The bytes and inodes that were counted. `complete`: these are all. `unlinked`: the bytes of unlinked files."""

    bytes: int
    complete: bool = True
    inodes: int = 0
    unlinked: int = 0


def places(layout: Layout, agent: AgentName) -> tuple[Path, ...]:
    """Return the directories on the state's file system that the agent can write."""
    own = (layout.agent_state(agent), layout.agent_home(agent), layout.pods(agent), layout.sockets(agent))
    return (*own, layout.state / "proposed") if agent == MANAGER else own


async def measure(
    layout: Layout, agents: Iterable[AgentName], pids: Mapping[AgentName, int] = _NO_PIDS
) -> dict[AgentName, Measured]:
    """Return what each agent holds. `pids` are the main processes of those that run."""
    names = sorted(agents)
    running = {agent: pids[agent] for agent in names if agent in pids}
    named, unlinked = await asyncio.gather(_named(layout, names), _unlinked(layout, running))
    return {agent: _add(named[agent], unlinked.get(agent), agent in running) for agent in names}


async def measure_through(
    count: Count, layout: Layout, agents: Iterable[AgentName], pids: Mapping[AgentName, int] = _NO_PIDS
) -> dict[AgentName, Measured]:
    """Return what each agent holds as `count` says, one at a time. What it leaves to the daemon is counted as above."""
    measured, left = dict[AgentName, Measured](), list[AgentName]()
    for agent in sorted(agents):
        try:
            held = await count(agent)
        except HiveError:
            measured[agent] = Measured(0, complete=False)
            continue
        if held is None:
            left.append(agent)
        else:
            measured[agent] = Measured(held.bytes, held.complete, held.inodes)
    return {**measured, **await measure(layout, left, pids)}


# files that have a name
async def _named(layout: Layout, names: Sequence[AgentName]) -> Mapping[AgentName, Measured]:
    measured = dict[AgentName, Measured]()
    for at in range(0, len(names), TOGETHER):
        some = names[at : at + TOGETHER]
        sums = await _count(layout, some, TOGETHER_SECONDS)
        if all(each.complete for each in sums.values()):
            measured.update(sums)
            continue
        for agent in some:
            measured.update(await _count(layout, [agent], ALONE_SECONDS))
    return measured


async def _count(layout: Layout, agents: Sequence[AgentName], seconds: float) -> Mapping[AgentName, Measured]:
    """Count the agents together. If `du` does not count anything, all of them are incomplete."""
    owners = {str(path): agent for agent in agents for path in places(layout, agent) if path.is_dir()}
    kib, complete = await _du("-k", agents, owners, seconds)
    inodes = dict.fromkeys(agents, 0)
    if complete:
        inodes, complete = await _du("--inodes", agents, owners, seconds)
    return {agent: Measured(kib[agent] * 1024, complete, inodes[agent]) for agent in agents}


async def _du(
    unit: str, agents: Sequence[AgentName], owners: Mapping[str, AgentName], seconds: float
) -> tuple[dict[AgentName, int], bool]:
    """Return the sum of each agent in `unit`, and whether all was counted."""
    sums = dict.fromkeys(agents, 0)
    if not owners:
        return sums, True
    try:
        done = await run(
            ["du", "-s", "-x", unit, "--", *owners],
            deadline=seconds,
            limits={resource.RLIMIT_AS: MEMORY},
            check=False,
        )
    except HiveError:  # it did not end, or is not installed
        return sums, False
    for line in done.text.splitlines():
        if (match := _LINE.fullmatch(line)) is not None and match[2] in owners:
            sums[owners[match[2]]] += int(match[1])
    return sums, _is_complete(done)


def _is_complete(done: Completed) -> bool:
    """Return True if `du` counted everything but files that vanished meanwhile."""
    complaints = done.stderr_tail.splitlines()
    return done.code == 0 or (bool(complaints) and all(line.endswith(_VANISHED) for line in complaints))


# unlinked files
async def _unlinked(layout: Layout, pids: Mapping[AgentName, int]) -> Mapping[AgentName, Sequence[int]]:
    """Return the facts that `unlinked.py` prints of each agent, as far as it ends in time."""
    together = await _look(layout, pids, TOGETHER_SECONDS)
    if together is not None:
        return together
    alone = [await _look(layout, {agent: pid}, ALONE_SECONDS) for agent, pid in pids.items()]
    return {agent: facts for each in alone for agent, facts in (each or {}).items()}


async def _look(
    layout: Layout, pids: Mapping[AgentName, int], seconds: float
) -> Mapping[AgentName, Sequence[int]] | None:
    """Look at the processes of these agents. Return None if that does not end in time."""
    if not pids:
        return {}
    words: list[str | Path] = [sys.executable, "-I", "-S", _UNLINKED, str(layout.state.stat().st_dev)]
    try:
        done = await run(
            [*words, *map(str, pids.values())], deadline=seconds, limits={resource.RLIMIT_AS: MEMORY}, check=False
        )
    except HiveError:
        return None
    lines = {int(pid): [*map(int, rest)] for pid, *rest in map(str.split, done.text.splitlines())}
    return {agent: lines[pid] for agent, pid in pids.items() if pid in lines}


def _add(measured: Measured, unlinked: Sequence[int] | None, runs: bool) -> Measured:
    if unlinked is None:
        return replace(measured, complete=measured.complete and not runs)
    bytes, files, complete = unlinked
    return Measured(measured.bytes + bytes, measured.complete and bool(complete), measured.inodes + files, bytes)
