"""The migration of agents of an older hive with the parts of this daemon: its backend, its meta repo, its rights."""

from __future__ import annotations

import time
from functools import partial

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.names import AgentName
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from reconciler.daemon.choices import Choice, adopt, harness_uid, lock_flake, older_containers
from reconciler.upkeep.migration.acts import Acts
from reconciler.upkeep.migration.migrate import migrate


async def migrate_older(layout: Layout, config: Config, choice: Choice, recorder: Recorder) -> tuple[AgentName, ...]:
    """Migrate the agents of an older hive, unless the settings defer that. Return those that are done.

    Without such agents only look.
    """
    gives = privilege(config.uid_start).hands_out_uids and config.fixed_uids

    def acts() -> Acts:
        meta = MetaRepo(
            layout,
            config=config,
            git_environment=recorder.environment(),
            deadline=config.git_deadline,
            lock_flake=lock_flake(choice, recorder),
        )
        return Acts(
            layout, config, meta, recorder, int(time.time()), partial(adopt, choice, layout), harness_uid(choice)
        )

    return await migrate(layout, acts, lambda: older_containers(choice, layout), gives=gives)
