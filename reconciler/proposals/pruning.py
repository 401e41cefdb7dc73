"""When push repos are pruned (`meta/proposed/push_prune.py`): every half hour, and after a look at their branches.

A look follows each tag and each ref that changes, so also the end of an id. One repo at a time. A repo in which nothing
changed since the last time costs a listing of its files and no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from meta.applied.loose_files import pack_loose
from meta.applied.retention import BRANCH_DAYS, dealt_with, expiry
from meta.errors import HiveError
from meta.names import AgentName
from meta.proposed import push_objects, push_prune, push_refs
from meta.proposed.tips import Tip, read_tips
from meta.text import one_line
from reconciler.loop.queue import Queue
from reconciler.world import World

log = logging.getLogger(__name__)
EVERY = 1800.0
"""Seconds between two rounds through all push repos."""
AGAIN = 60.0
"""Seconds until the next try if a push was under way."""
AFTER_START = 60.0
"""Seconds from the start of the daemon to the first round: nothing is known of any repo, so git lists the objects of
each."""
_NOTE_LIMIT = 300


class Pruning:
    """Prunes the push repos of all agents. One per daemon: `run` until cancelled."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[AgentName, str] = {}
        self._excess: dict[AgentName, str] = {}
        self._failed: dict[AgentName, str] = {}
        self._one = asyncio.Lock()
        self._queue = Queue(self._work, base=AGAIN, cap=EVERY, on_error=self._note)

    async def run(self) -> None:
        """Queue each agent every half hour, until cancelled."""
        try:
            await asyncio.sleep(AFTER_START)
            while True:
                await self._pack_meta()
                for agent in self._world.observer.names():
                    self._queue.add(agent)
                await asyncio.sleep(EVERY)
        finally:
            await self._queue.close()

    def look_at(self, agent: AgentName) -> None:
        """Prune the repo of `agent` soon: its branches changed."""
        self._queue.add(agent)

    def forget(self, agent: AgentName) -> None:
        """Drop what is known of a destroyed agent."""
        for known in (self._states, self._excess, self._failed):
            known.pop(agent, None)

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return what an operator should know about the size of the agent's push repo."""
        return tuple(known[agent] for known in (self._excess, self._failed) if agent in known)

    async def _work(self, agent: AgentName) -> float | None:
        """Prune one repo. Return the seconds until the next try if a push was under way, else None."""
        world, repo = self._world, self._world.layout.push_repo(agent)
        async with self._one:
            state, now = self._states.get(agent, ""), time.time()
            await self._drop_branches(agent, now)
            pruned = await push_prune.prune(world.layout, agent, world.config, now, state, world.recorder)
        self._failed.pop(agent, None)
        if pruned is None:
            return AGAIN if push_prune.is_prunable(world.layout, agent) else None
        self._states[agent] = pruned.state
        self._excess.pop(agent, None)
        if excess := push_objects.excess(repo, pruned.size, world.config):
            self._excess[agent] = ". ".join(excess)
        await self._pack(agent)
        if pruned.removed.files:
            log.info("%s: removed %d bytes that no ref of its push repo reached", agent, pruned.removed.size)
        return None

    async def _pack(self, agent: AgentName) -> None:
        """Merge the packs of ended ids in the applied repo, and pack its files."""
        world = self._world
        if merged := await world.applied(agent).merge_packs():
            log.info("%s: merged %d packs of its applied repo", agent, merged)
        if packed := await pack_loose(world.layout.applied_git(agent), world.layout):
            log.info("%s: packed %d objects of its applied repo", agent, packed)

    async def _pack_meta(self) -> None:
        """Pack the files of the meta repo. An error is logged: the next round tries again."""
        layout = self._world.layout
        try:
            if packed := await pack_loose(layout.meta_git, layout):
                log.info("packed %d objects of the meta repo", packed)
        except HiveError as error:
            log.warning("the objects of the meta repo stay files of their own for now: %s", error.describe())

    async def _drop_branches(self, agent: AgentName, now: float) -> None:
        """Remove the branches that were dealt with long ago."""
        layout = self._world.layout
        if not await asyncio.to_thread(push_prune.is_prunable, layout, agent):
            return
        snapshot = await asyncio.to_thread(read_tips, layout.push_repos, f"{agent}.git")
        deploys = await self._world.applied(agent).deploys() if snapshot.tips else ()
        main, before = await self._world.applied(agent).main(), expiry(now)
        tips = dealt_with(snapshot.tips, deploys, before, main=main)
        removed: tuple[Tip, ...] = ()
        with contextlib.suppress(OSError):  # the next look tries again
            removed = await asyncio.to_thread(push_refs.remove_branches, layout.push_repo(agent), tips, before)
        if removed:
            log.info("%s: removed %d branches, pushed and decided over %d days ago", agent, len(removed), BRANCH_DAYS)

    def _note(self, agent: AgentName, error: HiveError | None) -> None:
        why = error.describe() if error is not None else "it failed inside, see the log"
        repo = self._world.layout.push_repo(agent)
        self._failed[agent] = one_line(f"what no ref reaches in {repo} stays for now: {why}", _NOTE_LIMIT)
        log.warning("%s: %s", agent, self._failed[agent], extra={"limited": f"{agent} pruning"})
