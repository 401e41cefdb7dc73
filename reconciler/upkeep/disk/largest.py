"""Find the agent that fills the disk, and name nobody if the agents' files do not explain it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from meta.names import AgentName
from meta.text import size
from reconciler.common.reserve import Room

EXPLAINS = 4
"""The agents' files explain a full disk if they have one part in this many of what is used."""
NAMED = 5
"""Agents that a line names at most."""


class Held(Protocol):
    """The files of one agent, counted."""

    @property
    def bytes(self) -> int:
        """Their bytes."""

    @property
    def inodes(self) -> int:
        """Their inodes."""

    @property
    def complete(self) -> bool:
        """True if all were counted."""


def largest(held: Mapping[AgentName, Held], room: Room) -> AgentName | None:
    """Return the agent that holds the most of what is scarce. None if the agents' files do not explain what is used."""
    amounts = {agent: each.inodes if room.lacks_inodes else each.bytes for agent, each in held.items()}
    used = (room.all_inodes or 0) - (room.inodes or 0) if room.lacks_inodes else room.whole - room.free
    if not amounts or sum(amounts.values()) * EXPLAINS < used:
        return None
    return max(sorted(amounts), key=lambda agent: amounts[agent])


def explain(held: Mapping[AgentName, Held], room: Room) -> str:
    """Return who fills the disk, and what to do about it, in words."""
    agent = largest(held, room)
    uncounted = sorted(agent for agent, each in held.items() if not each.complete)
    more = f" and {len(uncounted) - NAMED} more" if len(uncounted) > NAMED else ""
    gap = f"; the files of {', '.join(uncounted[:NAMED])}{more} cannot all be counted" if uncounted else ""
    if agent is None:
        return f"what fills it is not among the agents' files that were counted{gap}; free some space"
    amount = f"{held[agent].inodes} inodes" if room.lacks_inodes else size(held[agent].bytes)
    steps = f"`hive stop {agent} --now`, then remove files of agents/{agent}/ there"
    return f"{agent} holds the most ({amount}): {steps}{gap}"
