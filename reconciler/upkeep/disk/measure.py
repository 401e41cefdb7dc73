"""Count the bytes of agents' files with `du`, a process of its own: an agent may make millions of files.

`du` follows no symlink and enters no other file system. It gets a deadline and an address space. If it cannot read a
directory or does not end in time, the sum is incomplete.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.errors import HiveError
from meta.layout import Layout
from meta.names import MANAGER, AgentName
from meta.process.run import Completed, run

TOGETHER = 32
"""Agents that one `du` counts. If it meets a problem, each of them is counted alone."""
TOGETHER_SECONDS = 5.0
ALONE_SECONDS = 20.0
MEMORY = 512 * 2**20
"""Address space of one `du`, which remembers every file that has several names."""

_LINE = re.compile(r"(\d+)\t(.+)")
_VANISHED = "No such file or directory"


@dataclass(frozen=True, slots=True)
class Measured:
    """The bytes that were counted. `complete`: these are all."""

    bytes: int
    complete: bool = True


def places(layout: Layout, agent: AgentName) -> tuple[Path, ...]:
    """Return the directories on the state's file system that the agent can write."""
    own = (layout.agent_state(agent), layout.agent_home(agent), layout.sockets(agent))
    return (*own, layout.state / "proposed") if agent == MANAGER else own


async def measure(layout: Layout, agents: Iterable[AgentName]) -> dict[AgentName, Measured]:
    """Return what each agent holds."""
    names, measured = sorted(agents), dict[AgentName, Measured]()
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
    """Count the agents together. If anything is not counted, all of them are incomplete."""
    owners = {str(path): agent for agent in agents for path in places(layout, agent) if path.is_dir()}
    if not owners:
        return {agent: Measured(0) for agent in agents}
    try:
        done = await run(
            ["du", "-s", "-x", "-k", "--", *owners],
            deadline=seconds,
            limits={resource.RLIMIT_AS: MEMORY},
            check=False,
        )
    except HiveError:  # it did not end, or is not installed
        return {agent: Measured(0, complete=False) for agent in agents}
    sums = dict.fromkeys(agents, 0)
    for line in done.text.splitlines():
        if (match := _LINE.fullmatch(line)) is not None and match[2] in owners:
            sums[owners[match[2]]] += int(match[1]) * 1024
    return {agent: Measured(count, _is_complete(done)) for agent, count in sums.items()}


def _is_complete(done: Completed) -> bool:
    """Return True if `du` counted everything but files that vanished meanwhile."""
    complaints = done.stderr_tail.splitlines()
    return done.code == 0 or (bool(complaints) and all(line.endswith(_VANISHED) for line in complaints))
