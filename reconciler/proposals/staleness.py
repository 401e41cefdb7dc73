"""Proposals that became hopeless: what the agent has by now is no ancestor of their commit, so only a rebase helps."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable
from pathlib import Path

from meta.errors import Conflict, HiveError
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.proposals.superseding import MARK
from reconciler.world import World

log = logging.getLogger(__name__)
PUSHED, EDITED, TREE = "proposed/push.git", f"edit{MARK}", "proposed/config"
_FLYING = (TagState.APPROVED, TagState.BUILDING)


def rebase_hint(agent: AgentName, source: str, applied_git: Path) -> str:
    """How to bring a commit from `source` (as its tag has it) on top of what the agent has, on the host.

    What a remote is called differs from clone to clone, so a path stands in its place.
    """
    onto = f"git fetch {shlex.quote(str(applied_git))} main && git rebase FETCH_HEAD"
    if source.startswith(EDITED):
        return f"rebase onto applied/main: `hive edit {agent}` begins anew with what is deployed"
    if source.startswith(PUSHED):
        return f"rebase onto applied/main: `{onto}` in the clone, then push again with `git push -f`"
    if source.startswith(TREE):
        inside = "git fetch applied && git rebase applied/main"
        return f"rebase onto applied/main: in the manager's container `{inside}`, on the host `{onto}`"
    return f"rebase onto applied/main: `{onto}` in the clone, then propose again"


class Stale:
    """Which open proposals are hopeless. Ancestry never changes, so each pair of commits is asked for once."""

    def __init__(self, world: World) -> None:
        self._w = world
        self._known: dict[AgentName, dict[tuple[Sha, Sha], bool]] = {}

    async def of(self, agent: AgentName, deploys: Iterable[Deploy]) -> frozenset[ProposalId]:
        """The pending ids that do not descend from applied/main. One process for each that was not asked for before."""
        pending = [each for each in deploys if each.state is TagState.PROPOSAL and each.kind is DeployKind.APPLY_COMMIT]
        main = await self._w.applied(agent).main() if pending else None
        if main is None:
            self._known.pop(agent, None)
            return frozenset()
        known = self._known.get(agent, {})
        asked = self._known[agent] = {}
        try:
            for each in pending:
                pair = main, each.sha
                # the base that a tag names was an ancestor when the commit was fetched
                asked[pair] = known[pair] if pair in known else each.base == main or await self.descends(agent, *pair)
        except HiveError as error:
            log.warning("%s: whether proposals are stale cannot be told: %s", agent, error.summary)
        return frozenset(each.id for each in pending if asked.get((main, each.sha)) is False)

    async def descends(self, agent: AgentName, base: Sha, sha: Sha) -> bool:
        """Whether `sha` descends from `base`, or is it."""
        return await self._w.applied(agent).is_ancestor(base, sha)

    async def check(self, deploy: Deploy, deploys: Iterable[Deploy]) -> None:
        """Conflict when an approval of `deploy` could not become a deploy, because of what is or will be deployed."""
        agent, sha = deploy.agent, deploy.sha
        if deploy.kind is not DeployKind.APPLY_COMMIT or deploy.state is not TagState.PROPOSAL:
            return
        main = await self._w.applied(agent).main()
        if main is not None and not await self.descends(agent, main, sha):
            raise Conflict(
                f"{deploy.id} is stale: {sha[:12]} does not descend from applied/main ({main[:12]})",
                self.hint(deploy),
            )
        for other in deploys:
            if other.state in _FLYING and not await self.descends(agent, other.sha, sha):
                raise Conflict(
                    f"{deploy.id} does not descend from {other.id} ({other.sha[:12]}), which is being deployed",
                    f"wait for its end (`hive plan {agent}`); once it is deployed, {self.hint(deploy)}",
                )

    def hint(self, deploy: Deploy) -> str:
        """What to do about one that is stale."""
        return rebase_hint(deploy.agent, deploy.source, self._w.layout.applied_git(deploy.agent))
