"""The look at the agents of an older hive, on the disk: their layout, what is left to move, and what is in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.applied import older
from meta.applied.older import Reason, Shape
from meta.errors import BadInput, HiveError
from meta.git.files import read_ref
from meta.layout import Layout
from meta.model import Desired
from meta.names import AgentName, agent_name
from reconciler.upkeep.migration.plan import Seen

_ASIDE = "move it aside, and restart the daemon"


@dataclass(frozen=True, slots=True)
class Containers:
    """The containers of an older hive: by whose repo they run, and those that have the name of their agent."""

    agents: frozenset[AgentName] = frozenset()
    adoptable: frozenset[AgentName] = frozenset()


def older_config(layout: Layout, agent: AgentName) -> Path:
    """Return where an older hive had the proposed work tree."""
    return layout.agent(agent) / "config"


def older_login(layout: Layout, agent: AgentName) -> Path:
    """Return where an older hive had the credentials."""
    return layout.agent(agent) / "claude"


def begun(layout: Layout) -> tuple[AgentName, ...]:
    """Return the agents that are not migrated, or not to the end. This costs a few calls for each agent."""
    return tuple(agent for agent in _agents(layout) if _is_begun(layout, agent))


def _is_begun(layout: Layout, agent: AgentName) -> bool:
    shape = older.shape(layout.applied(agent))
    return shape is not Shape.CURRENT or (_converted(layout, agent) and not _ref(layout, agent, older.MARKER))


def look(layout: Layout, desired: Desired, containers: Containers) -> tuple[Seen, ...]:
    """Return every agent that `begun` names. If there are no older containers, all agents are on the list."""
    known = {*desired.agents, *desired.tombstones}
    return tuple(
        Seen(
            agent,
            older.shape(layout.applied(agent)),
            converted=_converted(layout, agent),
            done=_ref(layout, agent, older.MARKER),
            known=agent in known,
            listed=not containers.agents or agent in containers.agents,
            container=agent in containers.adoptable,
            tree=_is_folder(layout.proposed_config(agent)),
            tree_to_move=_movable(older_config(layout, agent), layout.proposed_config(agent)),
            login_to_move=_movable(older_login(layout, agent), layout.agent_home(agent) / ".claude"),
            fault=_fault(layout, agent),
        )
        for agent in begun(layout)
    )


def _agents(layout: Layout) -> Iterator[AgentName]:
    for entry in sorted(os.scandir(layout.applied_repos), key=lambda entry: entry.name):
        try:
            yield agent_name(entry.name)
        except BadInput:
            continue  # the observer warns of it


def _converted(layout: Layout, agent: AgentName) -> bool:
    return _ref(layout, agent, f"{older.REFS}/heads/main")


def _ref(layout: Layout, agent: AgentName, name: str) -> bool:
    try:
        return read_ref(layout.applied_git(agent), name) is not None
    except HiveError:  # damaged: the check of the repo reports it
        return False


def _movable(source: Path, target: Path) -> bool:
    return _is_folder(source) and not os.path.lexists(target)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _fault(layout: Layout, agent: AgentName) -> Reason | None:
    """Return what is in the way of a conversion that has not begun."""
    folder = layout.applied(agent)
    if older.shape(folder) is not Shape.OLDER:
        return None
    for name in (older.KEPT, older.TAKEN):
        if os.path.lexists(folder / name):
            return Reason(f"{folder / name} is where its older files go", _ASIDE)
    if not _is_folder(folder / ".git"):
        return Reason(f"{folder / '.git'} is no directory", "restore it from a backup, and restart the daemon")
    return None
