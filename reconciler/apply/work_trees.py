"""After a deploy that the manager did not commit, its untouched work tree of the agent follows `applied/main`."""

from __future__ import annotations

import logging

from meta.applied.source import Source, SourceKind
from meta.errors import HiveError
from meta.model import Deploy
from meta.names import MANAGER, AgentName, Sha
from meta.proposed import work_tree_follow
from reconciler.store.events import keys
from reconciler.world import World

log = logging.getLogger(__name__)


async def follow(world: World, deploy: Deploy) -> None:
    """Bring the work tree to `applied/main`, or report to the manager why it was left as it is. Raise no HiveError.

    A deploy from the work tree itself is no news to the manager.
    """
    agent, own = deploy.agent, Source.parse(deploy.source).kind is SourceKind.WORK_TREE
    try:
        applied = world.applied(agent)
        main, tip = await applied.main(), work_tree_follow.tip(world.layout, agent)
        if main is None or tip is None or tip == main:
            return
        if not await applied.has(tip) or not await applied.is_ancestor(tip, main):
            why: str | None = "it has commits of its own"
        else:
            why = await work_tree_follow.follow(world.layout, agent, tip, main, world.config, world.recorder)
        if why is not None and not own:
            await _report(world, agent, main, why)
    except (HiveError, OSError) as error:
        log.warning("%s: its work tree stays behind: %s", agent, error, extra={"limited": f"{agent} work tree"})


async def _report(world: World, agent: AgentName, main: Sha, why: str) -> None:
    remedy = f"in /agents/{agent}/config: `git fetch applied && git rebase applied/main`"
    data = {"main": main, "reason": why, "remedy": remedy}
    await world.events.append("work_tree_behind", agent, data, key=keys.behind(agent, main))
    log.info("%s: the work tree of %s stays behind: %s", MANAGER, agent, why)
