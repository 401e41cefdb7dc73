"""The range of uids of an agent. No other name has it, neither in meta nor as the owner of files on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from meta.desired.held_uids import end_of_overlap, held
from meta.desired.uid_ranges import HIGHEST, UID_STEP
from meta.desired.view import MetaView
from meta.errors import Refused
from meta.layout import Layout
from meta.names import AgentName
from meta.process.privilege import FIRST_UID


def uid_for(view: MetaView, agent: AgentName, start: int, layout: Layout, etc: Path = Path("/etc")) -> int:
    """Return the first uid of the range for a new agent: its tombstone's, that of its files on disk, or a free one.

    A free one is the first above all others of which the tables in `etc` hold no uid.

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
    free = _beyond(max([start, *(uid + UID_STEP for uid in others)]), start, held(etc))
    if free > HIGHEST:
        raise Refused("there is no free range of uids left", "purge agents that you do not need any more")
    return free


def _beyond(base: int, start: int, ranges: tuple[range, ...]) -> int:
    """Return the first range from `base` on that meets none of `ranges`, at a whole number of steps from `start`."""
    while (end := end_of_overlap(base, UID_STEP, ranges)) is not None:
        base = start - (start - end) // UID_STEP * UID_STEP
    return base


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
            if uid >= min(start, FIRST_UID):  # one that was given before the start was raised, too
                owners[name] = max(owners.get(name, 0), start + (uid - start) // UID_STEP * UID_STEP)
    return owners
