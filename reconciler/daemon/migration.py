"""The migration of agents of an older hive with the parts of this daemon: its backend, its meta repo, its rights."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import MANAGER, AgentName
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from reconciler.daemon.choices import Choice, adopt, harness_uid, lock_flake, older_containers
from reconciler.events.feed import Resync
from reconciler.upkeep.migration.acts import Acts
from reconciler.upkeep.migration.migrate import finish, migrate, waiting
from reconciler.world import World

log = logging.getLogger(__name__)


async def migrate_older(layout: Layout, config: Config, choice: Choice, recorder: Recorder) -> tuple[AgentName, ...]:
    """Migrate the agents of an older hive, unless the settings defer that. Return those that are done.

    Without such agents only look.
    """
    gives = privilege(config.uid_start).hands_out_uids and config.fixed_uids
    meta = MetaRepo(
        layout,
        config=config,
        git_environment=recorder.environment(),
        deadline=config.git_deadline,
        lock_flake=lock_flake(choice, recorder),
    )
    acts = partial(_acts, layout, config, choice, recorder, meta)
    return await migrate(layout, acts, lambda: older_containers(choice, layout), gives=gives)


async def give_to_manager(layout: Layout, config: Config, choice: Choice, recorder: Recorder, world: World) -> None:
    """Give the work trees of migrated agents to the manager once it is spawned. Never return."""
    try:
        while waiting(layout):
            with contextlib.suppress(Resync):
                async with world.events.subscribe(None) as stream:
                    while MANAGER not in (await world.observer.desired()).agents:
                        await anext(stream)
                    done = await finish(layout, _acts(layout, config, choice, recorder, world.meta))
                log.info("migration: done for %s, whose work trees the manager has now", ", ".join(done) or "none")
                break
    except HiveError as error:
        log.error("migration: the next start gives the work trees to the manager: %s", error.summary)
    await asyncio.Event().wait()


def _acts(layout: Layout, config: Config, choice: Choice, recorder: Recorder, meta: MetaRepo) -> Acts:
    return Acts(layout, config, meta, recorder, int(time.time()), partial(adopt, choice, layout), harness_uid(choice))
