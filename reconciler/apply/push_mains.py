"""After each deploy the `main` of a push repo follows `applied/main`, so that a clone of it is what runs.

It is level-triggered: each call compares the push repo with the applied repo. A commit that a person pushed to `main`
stays there while it waits. After a denial it stays as long as it could be deployed: the push repo alone has it then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from meta.applied.repo import Applied
from meta.errors import HiveError
from meta.model import Deploy, TagState
from meta.names import AgentName, Sha
from meta.proposed import push_main, push_refs, push_repo
from meta.proposed.tips import read_tips
from meta.text import one_line
from reconciler.world import World

_NOTE_LIMIT = 500
log = logging.getLogger(__name__)
_Seen = tuple[str | None, Sha | None]


class PushMains:
    """Brings the push repos to what is deployed. `bring` raises no HiveError: the next look tries again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._done: dict[AgentName, _Seen] = {}
        self._behind: dict[AgentName, str] = {}

    def forget(self, agent: AgentName) -> None:
        """Drop what is known of a destroyed agent."""
        self._done.pop(agent, None)
        self._behind.pop(agent, None)

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return why the push repo stays behind what is deployed, if it does."""
        return (self._behind[agent],) if agent in self._behind else ()

    async def bring(self, agent: AgentName) -> None:
        """Bring the push repo of `agent` to its applied repo. Start no process if neither changed since."""
        try:
            async with self._world.push_repo(agent):
                why = await self._bring(agent)
        except HiveError as error:
            why = error.describe()
        if why is None:
            self._behind.pop(agent, None)
            return
        note = one_line(f"its push repo stays behind what is deployed, until the next look: {why}", _NOTE_LIMIT)
        if self._behind.get(agent) != note:
            self._behind[agent] = note
            log.warning("%s: %s", agent, note, extra={"limited": f"{agent} push main"})

    async def _bring(self, agent: AgentName) -> str | None:
        """Bring the push repo there. Return why it stays behind; None if it does not, or if others report that."""
        world, applied = self._world, self._world.applied(agent)
        main = await applied.main()
        if main is None or not push_repo.present(world.layout, agent):
            return None
        stamp = applied.stamp()
        try:
            present = await asyncio.to_thread(push_refs.main_of, world.layout.push_repo(agent))
        except OSError:
            return None  # not as hive made it, which status and doctor report
        if self._done.get(agent) == (stamp, present):
            return None
        target = await self._target(agent, present, main)
        why = await push_main.bring(world.layout, agent, target, world.config, world.recorder)
        if why is None:
            self._done[agent] = stamp, target.main or present
        elif await asyncio.to_thread(push_repo.complaint, world.layout, agent):
            return None
        return why

    async def _target(self, agent: AgentName, present: Sha | None, main: Sha) -> push_main.Target:
        applied = self._world.applied(agent)
        deploys = await applied.deploys()
        held = present is not None and await applied.has(present)
        moves = present is None or await may_leave(applied, deploys, present, main, held=held)
        snapshot = await asyncio.to_thread(read_tips, self._world.layout.push_repos, f"{agent}.git")
        known = {main} if any(tip.sha == main for tip in snapshot.tips.values()) else set()
        if present is not None and held:
            known.add(present)
        tags = await applied.deployed_tags(push_main.MOST_TAGS)
        return push_main.Target(main if moves and present != main else None, present, tags, known)


async def may_leave(applied: Applied, deploys: Sequence[Deploy], present: Sha, main: Sha, *, held: bool) -> bool:
    """Return True if nothing is lost when the branch leaves `present`: it is part of `main`, or it was decided and
    either hive keeps it, or it cannot be deployed any more because another commit was.
    """
    if held and await applied.is_ancestor(present, main):
        return True
    ids = [deploy for deploy in deploys if deploy.sha == present]
    if not ids or not all(deploy.state.terminal for deploy in ids):
        return False
    if held and any(deploy.state is not TagState.DENIED for deploy in ids):
        return True  # `hive retry` takes it from the applied repo
    if held:
        return not await applied.is_ancestor(main, present)
    return all(deploy.base != main for deploy in ids)
