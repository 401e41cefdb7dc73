"""The migration at the start of a daemon, before anything is built or rebuilt: look, plan, act, report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict

from meta.applied import older
from meta.applied.older import Reason
from meta.layout import Layout
from meta.names import AgentName
from reconciler.common.files import write_json
from reconciler.upkeep.migration.acts import WAITS, Acts
from reconciler.upkeep.migration.look import Containers, begun, look
from reconciler.upkeep.migration.plan import Give, Mark, plan

log = logging.getLogger(__name__)


async def migrate(
    layout: Layout, acts: Callable[[], Acts], containers: Callable[[], Containers], *, gives: bool
) -> tuple[AgentName, ...]:
    """Migrate the agents of an older hive; return those that are done. One that cannot be migrated is named and left.

    If there is none, this only looks, and makes no `acts`.
    """
    done: tuple[AgentName, ...] = ()
    left: dict[AgentName, Reason] = {}
    if begun(layout):
        done, left = await _migrate(layout, acts(), containers(), gives=gives)
    _report(layout, left)
    return done


async def _migrate(
    layout: Layout, acts: Acts, containers: Containers, *, gives: bool
) -> tuple[tuple[AgentName, ...], dict[AgentName, Reason]]:
    await acts.meta.create(acts.at)
    desired = (await acts.meta.read()).desired
    made = plan(look(layout, desired, containers), deferred=acts.config.skip_meta_migration, gives=gives)
    for agent, reason in made.left:
        log.warning("migration: %s is left: %s; %s", agent, reason.text, reason.remedy)
    await acts.carry_out(made.steps)
    left = {**dict(made.left), **acts.left}
    done = tuple(agent for agent in made.agents if agent not in left)
    if done:
        log.info("migration: done for %s; their older files are in applied/<n>/%s", ", ".join(done), older.KEPT)
    return done, left


def waiting(layout: Layout) -> tuple[AgentName, ...]:
    """Return the agents that are migrated but for a work tree, which waits for the manager."""
    return tuple(agent for agent in begun(layout) if _waits(older.reasons(layout.migration).get(agent)))


async def finish(layout: Layout, acts: Acts) -> tuple[AgentName, ...]:
    """Give the work trees that wait to the manager, which is spawned now. Return the agents that are done."""
    agents = waiting(layout)
    await acts.carry_out((*map(Give, agents), *map(Mark, agents)))
    others = {agent: reason for agent, reason in older.reasons(layout.migration).items() if agent not in agents}
    _report(layout, {**{AgentName(agent): reason for agent, reason in others.items()}, **acts.left})
    return tuple(agent for agent in agents if agent not in acts.left)


def _waits(reason: Reason | None) -> bool:
    return reason is not None and reason.remedy == WAITS


def _report(layout: Layout, left: dict[AgentName, Reason]) -> None:
    """Write why agents are left, where `hive status` and `hive doctor` read it; remove it if none is."""
    if left:
        write_json(layout.migration, {"left": {agent: asdict(reason) for agent, reason in left.items()}})
    else:
        layout.migration.unlink(missing_ok=True)
