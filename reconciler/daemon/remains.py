"""What a hive without a daemon left behind: agents, hive-egress, commands, sockets. `hive down` ends and removes them.

Only what this hive's own records, markers and names lead to is touched, by the code of the backend that started it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.errors import Conflict, HiveError, NotFound
from meta.layout import Layout
from meta.names import MANAGER, AgentName
from meta.process.recorder import Recorder
from reconciler.backends.base import Backend
from reconciler.backends.local.launch import running_supervisors
from reconciler.common.tasks import Background
from reconciler.daemon import state_directory
from reconciler.daemon.choices import Choice, make_backend
from reconciler.daemon.lock import take_lock
from reconciler.network.process import end, running
from reconciler.observe.links import Links
from reconciler.views import AgentOutcome

COMMANDS_DEADLINE = 15.0
_BUILDERS = {"local": "plain", "nixos": "nix"}
_SOCKETS = ("mcp.sock", "harness.sock", "http.sock")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Remains:
    """What was there and is gone: agents, commands (one description of each), and paths of sockets."""

    agents: tuple[AgentOutcome, ...]
    commands: tuple[str, ...]
    sockets: tuple[Path, ...]


def wait_for_lock(layout: Layout, seconds: float) -> int:
    """Wait until no daemon holds the state directory. Return the descriptor that holds it now. Raise Conflict.

    Raise NotFound if there is no hive.
    """
    if not layout.owner.is_file():
        raise NotFound(f"there is no hive in {layout.state}", "name its directory with --state or HIVE_STATE")
    deadline = time.monotonic() + seconds
    while True:
        try:
            return take_lock(layout.lock)
        except Conflict:
            if time.monotonic() > deadline:
                raise


async def end_remains(layout: Layout, config: Config) -> Remains:
    """End what still runs, and remove the sockets. Hold the lock of the state directory meanwhile.

    An agent that does not end has an error in its outcome.
    """
    owner = state_directory.owner(layout.owner)
    commands = await Recorder(layout.processes, owner).recover(COMMANDS_DEADLINE)
    agents: list[AgentOutcome] = []
    for name, builder in _BUILDERS.items():
        if layout.backend(name).is_dir():
            background = Background()
            choice = Choice(name, builder)
            backend = make_backend(
                choice, layout, config, owner=owner, links=Links(_drop, _drop), background=background
            )
            agents += await _end_agents(backend, layout, config)
            await background.stop()
    if config.egress_start:
        commands += await _end_egress(layout)
    return Remains(tuple(agents), tuple(commands), tuple(_remove_sockets(layout, egress=config.egress_start)))


async def _end_egress(layout: Layout) -> list[str]:
    """End hive-egress, once no agent needs it any more. Return a description of each that ran."""
    return [f"hive-egress, pid {which.pid}" for which, _ in running(layout.egress_state) if await end(which)]


async def _end_agents(backend: Backend, layout: Layout, config: Config) -> list[AgentOutcome]:
    """Stop every container, also those that run without their records. Return an outcome for each that ran."""
    strays = frozenset(agent for agent, _ in running_supervisors(layout.backend(backend.name)))
    await backend.open(_drop)
    try:
        outcomes = []
        for agent in sorted({*backend.names(), *strays}):
            ran = agent in strays or backend.observe(agent).running
            try:
                await backend.stop(agent, config.stop_grace)  # also of one that does not run: its cgroup may be left
            except HiveError as error:
                outcomes.append(AgentOutcome(agent, error=error.summary, remedy=error.hint))
            else:
                outcomes += [AgentOutcome(agent, "stop")] if ran else []
        return outcomes
    finally:
        await backend.close()


def _remove_sockets(layout: Layout, *, egress: bool) -> Iterator[Path]:
    """Remove the sockets of a daemon that was killed, and with `egress` those of the hive-egress that it started.

    Yield their paths. Follow no symlink.
    """
    yield from _remove(layout.runtime, (layout.host_socket.name, layout.http_socket.name))
    yield from _remove(layout.sockets(MANAGER), _SOCKETS)
    agents = layout.runtime / "agents"
    for folder in sorted(agents.iterdir()) if agents.is_dir() else ():
        yield from _remove(folder, _SOCKETS)
    if egress:
        yield from _remove(layout.egress_control.parent, (layout.egress_control.name,))
        ways = layout.egress_sockets
        for folder in sorted(ways.iterdir()) if ways.is_dir() else ():
            yield from _remove(folder, ("egress.sock",))


def _remove(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError:  # it is not there, or an agent that could put it there is not obeyed
        return
    try:
        for name in names:
            try:
                if stat.S_ISSOCK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=descriptor)
                    yield folder / name
            except FileNotFoundError:
                continue
    finally:
        os.close(descriptor)


def _drop(_agent: AgentName) -> None:
    """Ignore a hint: nothing is reconciled here."""
