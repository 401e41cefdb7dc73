"""Discovery: commits become proposals by being seen, in push.git and in the manager's work tree.

Level-triggered like everything else: a look reads what the branches point at now and compares it with what was dealt
with. A hint (`reconciler.proposals.watch`) only says whose repos to look at; a lost one costs at most the resync
interval. Commits below the tip of an update do not count, nor does a tip that was replaced before the look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meta.errors import Conflict, HiveError, TransientError
from meta.model import Deploy, TagState
from meta.names import AgentName, Sha
from meta.proposed import tips
from meta.proposed.tips import Looked, Tip
from meta.text import one_line
from reconciler.common.tasks import run_together
from reconciler.common.token_bucket import Bucket
from reconciler.loop.queue import Queue
from reconciler.observe.settings import DeployedSettings
from reconciler.proposals.superseding import supersede
from reconciler.proposals.watch import Watch
from reconciler.store.seen_tips import SeenTips
from reconciler.views import Card, RefusedTip
from reconciler.world import World

log = logging.getLogger(__name__)
PUSHED, EDITED = "push.git", "config/.git"
SOURCES: Mapping[str, str] = {PUSHED: "proposed/push.git", EDITED: "proposed/config"}
"""The git directories below `proposed/<n>`, and how their branches begin in a tag: "proposed/push.git#main"."""
GLANCE = 0.05
"""Seconds; decisions come in swarms."""
POLL = 1.0
"""Seconds between looks at everything while nothing can be watched."""
NOTE_LIMIT = 500


# the core
@dataclass(frozen=True, slots=True)
class Found:
    """A tip that nobody dealt with yet; `source` is what its tag will say."""

    kind: str
    source: str
    tip: Tip

    @property
    def by(self) -> str:
        """Who is recorded. Of a push what is known is whose file the ref is."""
        if self.kind == EDITED:
            return "manager"
        return "push" if self.tip.uid is None else f"push by uid {self.tip.uid}"


def counts(kind: str, branch: str, auto_propose: bool) -> bool:
    """Whether a branch is one to find proposals on: any that was pushed, `propose/...` and perhaps `main` of a tree."""
    return kind == PUSHED or branch.startswith("propose/") or (branch == "main" and auto_propose)


def source_of(kind: str, branch: str) -> str:
    """As the tag says it."""
    return f"{SOURCES[kind]}#{branch}"


def remedy_of(kind: str, branch: str, push_git: Path) -> str:
    """How to be rid of a branch whose commit is refused."""
    name = shlex.quote(branch)
    drop = f"git push {shlex.quote(str(push_git))} --delete {name}" if kind == PUSHED else f"git branch -D {name}"
    return f"`{drop}` forgets it"


def unseen(
    kind: str,
    found: Iterable[Tip],
    seen: Mapping[str, Sha],
    deploys: Iterable[Deploy],
    *,
    main: Sha | None,
    auto_propose: bool,
) -> tuple[Found, ...]:
    """The tips to be dealt with, by branch. The tags say what was a proposal, should the store have forgotten it.

    What the agent has or had deployed is nothing to propose.
    """
    known = {(deploy.source, deploy.sha) for deploy in deploys}
    had = {deploy.sha for deploy in deploys if deploy.state is TagState.DEPLOYED} | {main}
    new = []
    for tip in sorted(found, key=lambda tip: tip.branch):
        source = source_of(kind, tip.branch)
        if not counts(kind, tip.branch, auto_propose) or seen.get(source) == tip.sha:
            continue
        if tip.sha not in had and (source, tip.sha) not in known:
            new.append(Found(kind, source, tip))
    return tuple(new)


def hinted(top: Path, path: Path) -> AgentName | None:
    """Whose repos a change at `path` below `proposed` may concern; None when none."""
    if path.name.endswith(".lock") or not path.is_relative_to(top):
        return None
    agent, *rest = path.relative_to(top).parts or ("",)
    inside = "/".join(rest)
    for kind in SOURCES:
        name = inside.removeprefix(f"{kind}/")
        if name != inside and not name.startswith(("refs", "packed-refs")):
            return None  # `git status` writes an index, a commit its message
    return AgentName(agent) if agent else None


# the shell
class Proposing(Protocol):
    """What makes a proposal."""

    async def propose(
        self,
        agent: AgentName,
        by: str,
        commit: str | None = None,
        description: str = "",
        source: Path | None = None,
        origin: str | None = None,
    ) -> Card:
        """See Proposals.propose."""


_Stamp = tuple[str | None, Sha | None]


class Discovery:
    """Looks, and proposes what it finds. One per daemon: `open`, then `run` until cancelled."""

    def __init__(
        self,
        world: World,
        service: Proposing,
        seen: SeenTips,
        settings: DeployedSettings,
        watch: Watch | None = None,
    ) -> None:
        self._w = world
        self._service = service
        self._store = seen
        self._settings = settings
        self._top = world.layout.state / "proposed"
        self._watch = watch or Watch(self._changed)
        self._queue = Queue(
            self._work, base=world.config.retry_backoff, cap=world.config.retry_backoff_max, on_error=self._failed
        )
        self._seen: dict[AgentName, dict[str, Sha]] = {}
        self._looked: dict[tuple[AgentName, str], Looked] = {}
        self._stamps: dict[AgentName, _Stamp] = {}
        self._buckets: dict[tuple[AgentName, str], Bucket] = {}
        self._waiting: dict[AgentName, str] = {}
        self._refused: dict[tuple[AgentName, str], dict[Tip, str]] = {}
        self._glancing: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Remember what was dealt with."""
        self._seen = await self._store.load()

    async def run(self) -> None:
        """Watch, and look at everything now and then, until cancelled. Raises what ends either of the two."""
        try:  # the sweeps first: they say what to watch
            await run_together({"sweeps": self._sweep_forever(), "watch": self._watch.run()})
        finally:
            if self._glancing is not None:
                self._glancing.cancel()
            await self._queue.close()

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self._sweep()
            except HiveError as error:
                log.error("discovery: %s", error.summary)
            await self._pause()

    async def _pause(self) -> None:
        """Until the next look at everything; less when watching fails."""
        if self._watch.complaint:
            await asyncio.sleep(min(POLL, self._w.config.resync))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._w.config.resync):
                await self._watch.failing.wait()

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """What a person should know about the agent's proposed repos."""
        said = [looked.complaint for (name, _), looked in self._looked.items() if name == agent and looked.complaint]
        if agent in self._waiting:
            said.append(self._waiting[agent])
        for tip in self.refused(agent):
            said.append(f"{tip.source} at {tip.commit[:12]} is no proposal: {tip.reason}; {tip.remedy}")
        return tuple(said)

    def refused(self, agent: AgentName) -> tuple[RefusedTip, ...]:
        """The tips that are no proposals, by repo and branch."""
        found = []
        for kind in SOURCES:
            tips_of = self._refused.get((agent, kind), {})
            for tip in sorted(tips_of, key=lambda tip: tip.branch):
                found.append(self._refusal(agent, Found(kind, source_of(kind, tip.branch), tip), tips_of[tip]))
        return tuple(found)

    def _refusal(self, agent: AgentName, found: Found, why: str) -> RefusedTip:
        branch = found.tip.branch
        remedy = remedy_of(found.kind, branch, self._top / agent / PUSHED)
        return RefusedTip(agent, found.source, branch, found.tip.sha, found.by, why, remedy)

    def notes(self) -> tuple[str, ...]:
        """What a person should know about watching."""
        return (self._watch.complaint,) if self._watch.complaint else ()

    def glance(self) -> None:
        """Something was decided somewhere: an agent is new, a denial made room, a deploy turned auto_propose on."""
        if self._glancing is None:
            self._glancing = asyncio.get_running_loop().call_later(GLANCE, self._glance)

    def _glance(self) -> None:
        self._glancing = None
        for agent in self._w.observer.known().agents:
            if self._stamps.get(agent) != self._stamp(agent):
                self._queue.add(agent)

    def _stamp(self, agent: AgentName) -> _Stamp:
        """What a decision may change: the tags, and the commit whose auto_propose counts."""
        return self._w.observer.stamp(agent), self._settings.pinned(agent)

    # looking
    def _changed(self, path: Path) -> None:
        agent = hinted(self._top, path)
        if agent is not None and agent in self._w.observer.known().agents:
            self._queue.add(agent)

    async def _sweep(self) -> None:
        """A resync: compare what the files look like, work where that changed."""
        agents = self._w.observer.known().agents
        self._watch.want(None, [self._top])
        for agent in set(self._stamps) - set(agents):
            await self._forget(agent)
        self._glance()
        for agent in agents:
            try:
                if self._differs(agent):
                    self._queue.add(agent)
            except OSError as error:  # of one agent's repo; the others are looked at all the same
                self._waiting[agent] = one_line(f"its proposed repos cannot be looked at: {error}", NOTE_LIMIT)
                log.warning("%s: %s", agent, self._waiting[agent])
            await asyncio.sleep(0)

    def _differs(self, agent: AgentName) -> bool:
        for kind in SOURCES:
            before = self._looked.get((agent, kind), Looked())
            if not tips.look(self._top, f"{agent}/{kind}", before).same(before):
                return True
        return False

    async def _work(self, agent: AgentName) -> float | None:
        """One look at both repos of an agent; how long until the next one is due, None when only a hint makes it."""
        if agent not in (await self._w.observer.desired()).agents:
            return None
        self._waiting.pop(agent, None)
        deploys = await self._w.observer.refresh(agent)
        self._stamps[agent] = self._stamp(agent)
        applied = self._w.applied(agent)
        await supersede(applied, deploys, by="hive", at=self._w.now())
        main = await applied.main()
        again: list[float] = []
        for kind in SOURCES:
            looked = self._look(agent, kind)
            auto = kind == EDITED and "main" in looked.tips and await self._auto_propose(agent)
            refused = self._refused[agent, kind] = {
                tip: why for tip, why in self._refused.get((agent, kind), {}).items() if tip in looked.tips.values()
            }
            fresh = [tip for tip in looked.tips.values() if tip not in refused]
            seen = self._seen.get(agent, {})
            for found in unseen(kind, fresh, seen, deploys, main=main, auto_propose=auto):
                wait = self._take(agent, kind)
                if wait:
                    self._waiting[agent] = f"{SOURCES[kind]}: more tips than {self._w.config.finds_per_minute} a minute"
                    again.append(wait)
                    break
                await self._propose(agent, found)
            if not looked.settled:
                again.append(tips.SETTLED_NS / 1e9)
        return min(again, default=None)

    def _look(self, agent: AgentName, kind: str) -> Looked:
        before = self._looked.get((agent, kind))
        looked = self._looked[agent, kind] = tips.look(self._top, f"{agent}/{kind}", before)
        if looked.complaint and (before is None or before.complaint != looked.complaint):
            log.warning("%s: %s", agent, looked.complaint)
        folders = [self._top / agent, *looked.folders]
        if looked.complaint:
            folders.append((self._top / agent / kind).parent)  # a `.git` that is made anew comes there
        self._watch.want((agent, kind), folders)
        return looked

    def _take(self, agent: AgentName, kind: str) -> float:
        rate, now = self._w.config.finds_per_minute, self._w.clock()
        bucket = self._buckets.get((agent, kind), Bucket(float(rate), now))
        self._buckets[agent, kind], wait = bucket.take(now, rate)
        return wait

    def _give_back(self, agent: AgentName, kind: str) -> None:
        bucket = self._buckets[agent, kind]
        self._buckets[agent, kind] = Bucket(bucket.left + 1.0, bucket.at)

    async def _auto_propose(self, agent: AgentName) -> bool:
        """Return the agent's own setting, as it runs."""
        settings = await self._settings.of(agent)
        return settings is not None and settings.auto_propose

    # finding
    async def _propose(self, agent: AgentName, found: Found) -> None:
        source = self._top / agent / (PUSHED if found.kind == PUSHED else "config")
        tip = found.tip
        try:
            card = await self._service.propose(agent, found.by, tip.sha, "", source, found.source)
        except TransientError:
            raise
        except Conflict as error:  # no room: a decision makes some
            self._waiting[agent] = one_line(f"{found.source} waits: {error.summary}", NOTE_LIMIT)
            self._give_back(agent, found.kind)
            return
        except HiveError as error:
            if self._look(agent, found.kind).tips.get(tip.branch) == tip:  # else it changed under the fetch
                why = one_line(f"{error.summary} ({error.hint})" if error.hint else error.summary, NOTE_LIMIT)
                self._refused.setdefault((agent, found.kind), {})[tip] = why
                log.warning("%s: %s at %s is no proposal: %s", agent, found.source, tip.sha[:12], why)
                await self._tell(self._refusal(agent, found, why))
            return
        log.info("%s: found %s at %s, proposal %s", agent, found.source, tip.sha[:12], card.id)
        await self._store.save(agent, found.source, tip.sha, self._w.now())
        self._seen.setdefault(agent, {})[found.source] = tip.sha

    async def _tell(self, tip: RefusedTip) -> None:
        """Once per tip: a daemon that starts refuses it again, and that is no news."""
        data = {
            "source": tip.source,
            "branch": tip.branch,
            "sha": tip.commit,
            "by": tip.by,
            "reason": tip.reason,
            "remedy": tip.remedy,
        }
        key = f"card:{tip.agent}:tip:{tip.source}:{tip.commit}"  # a purge releases what begins so
        await self._w.events.append("tip_refused", tip.agent, data, key=key)

    async def _forget(self, agent: AgentName) -> None:
        """Destroyed. While its repos are kept, so is what was dealt with."""
        self._stamps.pop(agent, None)
        self._waiting.pop(agent, None)
        for kind in SOURCES:
            self._watch.want((agent, kind), [])
            self._looked.pop((agent, kind), None)
            self._buckets.pop((agent, kind), None)
            self._refused.pop((agent, kind), None)
        if agent not in self._w.observer.names():
            await self._store.forget(agent)
            self._seen.pop(agent, None)

    def _failed(self, agent: AgentName, error: HiveError | None) -> None:
        self._waiting[agent] = one_line(f"discovery: {error.summary if error else 'failed inside, see the log'}", 300)
        log.warning("%s: %s", agent, self._waiting[agent])
