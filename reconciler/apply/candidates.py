"""The candidate of a deploy: a commit beside meta's `main` that pins this agent to the deploy."""

from __future__ import annotations

from dataclasses import replace

from meta.model import Deploy, Pin, Role
from meta.names import HIVE, MANAGER
from reconciler.plan.origin import source_id
from reconciler.world import World


async def make_candidate(world: World, deploy: Deploy) -> None:
    """Commit meta's HEAD with the pin of `deploy`. An agent that is not in meta yet gets its first entry.

    A rollback takes the shared inputs of what it goes back to, any other deploy those that are configured.
    """
    agent, pin = deploy.agent, Pin(deploy.id, deploy.sha)
    view, target = await world.meta.read(), source_id(deploy)
    entry = view.desired.agents.get(agent)
    like = view.sources.get(agent, {}).get(target) if target is not None else None
    role = Role.MANAGER if agent == MANAGER else Role.AGENT
    changed = replace(entry, pin=pin) if entry is not None else None
    await world.meta.candidate(agent, deploy.id, changed, pin=pin, role=role, by=HIVE, at=world.now(), like=like)
