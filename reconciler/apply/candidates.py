"""The candidate of a deploy: a commit beside meta's `main` that pins this agent to the deploy."""

from __future__ import annotations

from dataclasses import replace

from meta.model import Deploy, Pin, Role
from meta.names import HIVE, MANAGER
from reconciler.world import World


async def make_candidate(world: World, deploy: Deploy) -> None:
    """Commit meta's HEAD with the pin of `deploy`. An agent that is not in meta yet gets its first entry."""
    agent, pin = deploy.agent, Pin(deploy.id, deploy.sha)
    entry = (await world.meta.read()).desired.agents.get(agent)
    role = Role.MANAGER if agent == MANAGER else Role.AGENT
    changed = replace(entry, pin=pin) if entry is not None else None
    await world.meta.candidate(agent, deploy.id, changed, pin=pin, role=role, by=HIVE, at=world.now())
