"""The range of uids of an agent. No other name has it, neither in meta nor as the owner of files on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping

from meta.desired.uid_ranges import HIGHEST, UID_STEP
from meta.desired.view import MetaView
from meta.errors import Refused
from meta.layout import Layout
from meta.names import AgentName


def uid_for(view: MetaView, agent: AgentName, start: int, layout: Layout) -> int:
    """Return the first uid of the range for a new agent: its tombstone's, that of its files on disk, or a free one.

    A spawn that failed, or a meta that was restored from an old backup, leaves files without an entry. An agent that
    got the range of such files would own them. Raise Refused if no range is left.
    """
    grave = view.desired.tombstones.get(agent)
    if grave is not None:
        return grave.uid_base
    owners = _owners(layout, start)
    others = {*_taken(view, agent), *(uid for name, uid in owners.items() if name != agent)}
    own = owners.get(agent)
    if own is not None and own not in others:
        return own
    free = max([start, *(uid + UID_STEP for uid in others)])
    if free > HIGHEST:
        raise Refused("there is no free range of uids left", "purge agents that you do not need any more")
    return free


def _taken(view: MetaView, agent: AgentName) -> list[int]:
    """Return the uids that meta gave to others."""
    taken = [entry.settings.uid_base for entry in view.desired.agents.values()]
    taken += [tombstone.uid_base for tombstone in view.desired.tombstones.values()]
    candidates = {name: some for name, some in view.candidates.items() if name != agent}
    return taken + [one.entry.settings.uid_base for some in candidates.values() for one in some.values()]


def _owners(layout: Layout, start: int) -> Mapping[str, int]:
    """Return, by name, the first uid of the highest range that owns one of the agent's directories."""
    owners: dict[str, int] = {}
    folder = layout.agent(AgentName("x")).parent
    for name in [entry.name for entry in os.scandir(folder)] if folder.is_dir() else ():
        for own in (layout.agent_state(AgentName(name)), layout.agent_home(AgentName(name))):
            try:
                uid = own.lstat().st_uid
            except (FileNotFoundError, NotADirectoryError):
                continue
            if uid >= start:
                owners[name] = max(owners.get(name, 0), start + (uid - start) // UID_STEP * UID_STEP)
    return owners
