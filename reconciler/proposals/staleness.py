"""Stale proposals: the agent's newest deployed commit is not an ancestor of theirs, so they need a rebase."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from meta.applied.source import Source, SourceKind
from meta.errors import Conflict, HiveError
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.text import command_line
from reconciler.world import World

log = logging.getLogger(__name__)
REPLAYED = (TagState.PROPOSAL, TagState.FAILED)
"""The states of ids that `hive rebase` replays. A denied one is decided, and its commit is not kept."""
_IN_FLIGHT = (TagState.APPROVED, TagState.BUILDING)


def rebase_hint(agent: AgentName, source: Source, applied_git: Path) -> str:
    """Return how to rebase a commit from `source` onto the agent's newest deployed commit.

    The hint has a path instead of a remote, because the name of a remote differs from clone to clone.
    """
    onto = f"{command_line('git', 'fetch', applied_git, 'main')} && git rebase FETCH_HEAD"
    match source.kind:
        case SourceKind.EDIT:
            return f"rebase onto applied/main: `hive edit {agent}` starts from what is deployed"
        case SourceKind.DECLARED:
            return "wait: hive proposes what is declared again, on top of what is deployed"
        case SourceKind.PUSH:
            return f"rebase onto applied/main: `{onto}` in the clone, then push again with `git push -f`"
        case SourceKind.WORK_TREE:
            inside = "git fetch applied && git rebase applied/main"
            return f"rebase onto applied/main: in the manager's container `{inside}`, on the host `{onto}`"
        case _:
            return f"rebase onto applied/main: `{onto}` in the clone, then propose again"


class Stale:
    """The stale proposals of all agents. Ancestry never changes, so git is run once for each pair of commits."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[AgentName, dict[tuple[Sha, Sha], bool]] = {}

    async def of(self, agent: AgentName, deploys: Iterable[Deploy]) -> frozenset[ProposalId]:
        """Return the pending ids that do not descend from applied/main. Start one process for each pair that is not
        known yet.
        """
        pending = [
            deploy for deploy in deploys if deploy.state is TagState.PROPOSAL and deploy.kind is DeployKind.APPLY_COMMIT
        ]
        main = await self._world.applied(agent).main() if pending else None
        if main is None:
            self._known.pop(agent, None)
            return frozenset()
        before = self._known.get(agent, {})
        descends = self._known[agent] = {}
        try:
            for deploy in pending:
                pair = main, deploy.sha
                if pair in before:
                    descends[pair] = before[pair]
                else:  # the fetch checked that the commit descends from its base
                    descends[pair] = deploy.base == main or await self.descends(agent, *pair)
        except HiveError as error:
            log.warning("%s: cannot find out which proposals are stale: %s", agent, error.summary)
        return frozenset(deploy.id for deploy in pending if descends.get((main, deploy.sha)) is False)

    async def descends(self, agent: AgentName, base: Sha, sha: Sha) -> bool:
        """Return True if `sha` is `base` or descends from it."""
        return await self._world.applied(agent).is_ancestor(base, sha)

    async def check(self, deploy: Deploy, deploys: Iterable[Deploy]) -> None:
        """Raise Conflict if `deploy` does not descend from the deployed commit, or from the one being deployed."""
        agent, sha = deploy.agent, deploy.sha
        if deploy.kind is not DeployKind.APPLY_COMMIT or deploy.state is not TagState.PROPOSAL:
            return
        main = await self._world.applied(agent).main()
        if main is not None and not await self.descends(agent, main, sha):
            raise Conflict(
                f"{deploy.id} is stale: {sha[:12]} does not descend from applied/main ({main[:12]})",
                self.hint(deploy),
            )
        for other in deploys:
            if other.state in _IN_FLIGHT and not await self.descends(agent, other.sha, sha):
                raise Conflict(
                    f"{deploy.id} does not descend from {other.id} ({other.sha[:12]}), which is being deployed",
                    f"wait until that ends (`hive plan {agent}`); once it is deployed, {self.hint(deploy)}",
                )

    def hint(self, deploy: Deploy) -> str:
        """Return how to rebase a stale proposal: by hand, and by hive if it keeps the commit."""
        by_hand = self.by_hand(deploy)
        return f"{by_hand}; or `hive rebase {deploy.id}` replays it" if deploy.state in REPLAYED else by_hand

    def by_hand(self, deploy: Deploy) -> str:
        """Return how a person rebases a stale proposal."""
        return rebase_hint(deploy.agent, Source.parse(deploy.source), self._world.layout.applied_git(deploy.agent))
