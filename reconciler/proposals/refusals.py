"""The tips that are refused, for as long as their branches stand at them. A later daemon knows them without a fetch.

What the operator's settings for the way out forbid is looked at again when their file changes, and at each start.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from meta.applied.source import Source, SourceKind
from meta.names import AgentName, Sha
from meta.network.reach import COMPLAINT
from meta.proposed.tips import Snapshot, Tip
from meta.text import one_line
from reconciler.proposals.tips import PLACES, NewTip, address
from reconciler.store.events import keys
from reconciler.store.refused_tips import Refused, RefusedTips
from reconciler.views import RefusedTip
from reconciler.world import World

log = logging.getLogger(__name__)
REASON_LIMIT = 500
"""Characters of a reason, at most."""
SHOWN = 10
"""Refused tips of one agent that its conditions name one by one."""


class Refusals:
    """The refused tips of all agents. One per daemon: `open` loads those of the daemon before."""

    def __init__(self, world: World, store: RefusedTips) -> None:
        self._world = world
        self._store = store
        self._before: dict[AgentName, Refused] = {}
        self._tips: dict[tuple[AgentName, SourceKind], dict[Tip, RefusedTip]] = {}
        self._revision = 0
        self._judged: set[Sha] = set()
        """What the operator's settings of this revision forbid."""

    async def open(self) -> None:
        """Load what an earlier daemon refused. It counts once a look finds the branch still there."""
        self._before = await self._store.load()

    def of(self, agent: AgentName) -> tuple[RefusedTip, ...]:
        """Return the refused tips of an agent, by repo and branch."""
        found = [tips for kind in PLACES if (tips := self._tips.get((agent, kind)))]
        return tuple(tips[tip] for tips in found for tip in sorted(tips, key=lambda tip: tip.branch))

    def has(self, agent: AgentName, kind: SourceKind, tip: Tip) -> bool:
        """Return True if this tip is refused."""
        refused = self._tips.get((agent, kind), {}).get(tip)
        if refused is None:
            return False
        return not refused.reason.startswith(COMPLAINT) or tip.sha in self._of_now()

    async def add(self, agent: AgentName, new: NewTip, reason: str) -> None:
        """Refuse a tip: append the event once, also if another hive refuses it again, then store and show it.

        In this order a stop at any point loses nothing: what is not stored is refused again, and its event is known.
        """
        reason = one_line(reason, REASON_LIMIT)
        tip = self._refused(agent, new, reason)
        place = address(new.source, agent)
        of_agent = {"limited": f"{agent} refused"}
        log.warning("%s: %s at %s is no proposal: %s", agent, place, tip.commit[:12], reason, extra=of_agent)
        data = {
            "source": tip.source,
            "branch": tip.branch,
            "sha": tip.commit,
            "by": tip.by,
            "reason": tip.reason,
            "remedy": tip.remedy,
        }
        key = keys.refused_tip(agent, tip.source, tip.commit)
        await self._world.events.append("tip_refused", agent, data, key=key)
        await self._store.save(agent, tip.source, new.tip.sha, reason)
        self._note(agent, new, reason)
        self._of_now().add(new.tip.sha)

    async def accept(self, agent: AgentName, new: NewTip) -> None:
        """Drop the refusal of a tip that is a proposal after all."""
        if self._tips.get((agent, new.source.kind), {}).pop(new.tip, None) is not None:
            await self._store.remove(agent, {str(new.source)})

    async def follow(self, agent: AgentName, kind: SourceKind, snapshot: Snapshot) -> None:
        """Take over what an earlier daemon refused, and drop what the repo no longer has."""
        gone = set() if snapshot.complaint else self._take_over(agent, kind, snapshot)
        tips, present = self._tips.get((agent, kind), {}), set(snapshot.tips.values())
        for tip in [tip for tip in tips if tip not in present]:
            gone.add(tips.pop(tip).source)
        gone -= {refused.source for refused in tips.values()} if gone else set()
        if gone:
            await self._store.remove(agent, gone)

    def drop(self, agent: AgentName) -> None:
        """Forget the refused tips of a destroyed agent, but not those in the store."""
        for kind in PLACES:
            self._tips.pop((agent, kind), None)

    async def forget(self, agent: AgentName) -> None:
        """Forget an agent whose repos are gone, in the store as well."""
        self._before.pop(agent, None)
        await self._store.forget(agent)

    def _of_now(self) -> set[Sha]:
        revision = self._world.network.revision()
        if revision != self._revision:
            self._revision, self._judged = revision, set()
        return self._judged

    def _note(self, agent: AgentName, new: NewTip, reason: str) -> None:
        tips = self._tips.setdefault((agent, new.source.kind), {})
        tips[new.tip] = self._refused(agent, new, reason)

    def _refused(self, agent: AgentName, new: NewTip, reason: str) -> RefusedTip:
        remedy = new.remedy(agent, self._world.layout.push_repo(agent))
        return RefusedTip(agent, str(new.source), new.tip.branch, new.tip.sha, new.by, reason, remedy)

    def _take_over(self, agent: AgentName, kind: SourceKind, snapshot: Snapshot) -> set[str]:
        """Refuse what an earlier daemon refused. Return the sources that have another tip now, or none."""
        before = self._before.get(agent, {})
        sources = {source for source in before if Source.parse(source).kind is kind}
        for source in tuple(sources):
            sha, reason = before.pop(source)
            tip = snapshot.tips.get(Source.parse(source).branch or "")
            if tip is not None and tip.sha == sha:
                self._note(agent, NewTip(Source.of(kind, tip.branch), tip), reason)
                sources.discard(source)
        return sources


def describe_refusals(tips: Sequence[RefusedTip]) -> tuple[str, ...]:
    """Return what an operator should know about the refused tips of one agent: some of them, and the number of others.

    `hive pending --refused` lists all.
    """
    more = len(tips) - SHOWN
    rest = (f"{more} more branches are no proposals; `hive pending --refused` lists them",) if more > 0 else ()
    return (*map(_describe, tips[:SHOWN]), *rest)


def _describe(tip: RefusedTip) -> str:
    place = address(Source.parse(tip.source), tip.agent)
    return f"{place} at {tip.commit[:12]} is no proposal: {tip.reason}; {tip.remedy}"
