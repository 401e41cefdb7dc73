"""Discovery: hive reads the branches of the push repos and of the manager's work trees, and proposes the new tips.

It is level-triggered like the loop: a look reads the tips of the branches now, and compares them with earlier
proposals. A hint (`reconciler.proposals.watch`) only names the agent to look at; a lost hint costs at most the resync
interval. Only the tip of an update counts, and only if no other tip replaced it before the look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.applied.source import Source, SourceKind
from meta.errors import Conflict, HiveError, TransientError
from meta.layout import Layout
from meta.model import Deploy
from meta.names import HIVE, AgentName, Sha
from meta.proposed import push_move, push_repo
from meta.proposed.tips import SETTLED_NS, Snapshot, read_tips
from meta.text import one_line
from reconciler.apply.push_mains import PushMains
from reconciler.common.tasks import run_together
from reconciler.common.token_bucket import Bucket
from reconciler.loop.queue import Queue
from reconciler.observe.settings import DeployedSettings
from reconciler.proposals.branches import Branches
from reconciler.proposals.offers import Offers
from reconciler.proposals.pruning import Pruning
from reconciler.proposals.refusals import Refusals
from reconciler.proposals.superseding import supersede
from reconciler.proposals.tips import PLACES, NewTip, Place, address, agent_of, is_proposable, new_tips
from reconciler.proposals.watch import Watch
from reconciler.store.refused_tips import RefusedTips
from reconciler.store.seen_tips import SeenTips
from reconciler.views import RefusedTip
from reconciler.world import World

log = logging.getLogger(__name__)
GLANCE = 0.05
"""Seconds from a decision to the look at its effects. Decisions often come in groups."""
AGAIN = 1.0
"""Seconds until the objects of denied proposals are looked at again that somebody was reading."""
POLL = 1.0
"""Seconds between looks at all agents while watching is not possible."""
NOTE_LIMIT = 500

Propose = Callable[[AgentName, str, str, str, Path, Source], Awaitable[Deploy]]
"""Pin a commit as a proposal: of an agent, by an author, the commit, a description, the repo it is in, its origin."""

_Stamp = tuple[str | None, Sha | None]


@dataclass(slots=True)
class _Repo:
    """The known state of one repo of one agent since the daemon started."""

    bucket: Bucket
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class KnownTips:
    """The stored tips that earlier daemons dealt with: what became a proposal, and what was refused."""

    seen: SeenTips
    refused: RefusedTips


class Discovery:
    """Proposes new tips. One per daemon: `open`, then `run` until cancelled."""

    def __init__(
        self,
        world: World,
        propose: Propose,
        known: KnownTips,
        settings: DeployedSettings,
        branches: Branches,
        look_now: Callable[[AgentName], None],
        watch: Watch | None = None,
        offers: Offers | None = None,
    ) -> None:
        self._world = world
        self._make_proposal = propose
        self._store = known.seen
        self._refusals = Refusals(world, known.refused)
        self._settings = settings
        self._branches = branches
        self._look_now = look_now
        self._offers = offers
        self._layout = world.layout
        self._watch = watch or Watch(self._changed)
        self._pruning = Pruning(world)
        self._push_mains = PushMains(world)
        self._queue = Queue(
            self._work, base=world.config.retry_backoff, cap=world.config.retry_backoff_max, on_error=self._failed
        )
        self._seen: dict[AgentName, dict[str, Sha]] = {}
        self._repos: dict[tuple[AgentName, SourceKind], _Repo] = {}
        self._stamps: dict[AgentName, _Stamp] = {}
        self._waiting: dict[AgentName, str] = {}
        self._lying: dict[AgentName, tuple[str, ...]] = {}
        self._glancing: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Load the tips that became proposals before, and those that were refused."""
        self._seen = await self._store.load()
        await self._refusals.open()

    async def run(self) -> None:
        """Watch the repos, and sweep them at each resync, until cancelled. Raise the error that ends either task."""
        try:  # the sweeps first: they choose what to watch
            await run_together(
                {"sweeps": self._sweep_forever(), "watch": self._watch.run(), "pruning": self._pruning.run()}
            )
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
        """Wait until the next sweep is due. If watching fails, it is due earlier."""
        if self._watch.complaint:
            await asyncio.sleep(min(POLL, self._world.config.resync))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._world.config.resync):
                await self._watch.failing.wait()

    # what status shows
    def conditions(self, agent: AgentName, *, again: bool = True) -> tuple[str, ...]:
        """Return what an operator should know about the agent's proposed repos, but for the refused tips.

        Without `again` what lies on the disk is what was found there last, by a sweep at the latest.
        """
        snapshots = [repo.snapshot for _, repo in self._repos_of(agent)]
        lines = [snapshot.complaint for snapshot in snapshots if snapshot is not None and snapshot.complaint]
        if again or agent not in self._lying:
            self._lying[agent] = tuple(_lying(self._layout, agent))
        lines += self._lying[agent]
        if agent in self._waiting:
            lines.append(self._waiting[agent])
        lines += self._push_mains.conditions(agent)
        lines += self._pruning.conditions(agent)
        return tuple(lines)

    def waiting(self, agent: AgentName) -> str | None:
        """Return why further branches of the agent wait, and become no proposals yet; None if none wait."""
        return self._waiting.get(agent)

    def refused(self, agent: AgentName) -> tuple[RefusedTip, ...]:
        """Return the tips that were refused, by repo and branch."""
        return self._refusals.of(agent)

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know about watching."""
        return (self._watch.complaint,) if self._watch.complaint else ()

    # when to look
    def glance(self) -> None:
        """Schedule a look at each agent that a decision changed.

        The agent may be new, a denial may have made room, or a deploy may have turned auto_propose on.
        """
        if self._glancing is None:
            self._glancing = asyncio.get_running_loop().call_later(GLANCE, self._glance)

    def _glance(self) -> None:
        self._glancing = None
        for agent in self._world.observer.known().agents:
            if self._stamps.get(agent) != self._stamp(agent):
                self._queue.add(agent)

    def _stamp(self, agent: AgentName) -> _Stamp:
        """Return the state that a decision may change: the tags, and the commit whose auto_propose counts."""
        return self._world.observer.stamp(agent), self._settings.pinned(agent)

    def _changed(self, path: Path) -> None:
        agent = agent_of(self._layout, path)
        if agent is not None and agent in self._world.observer.known().agents:
            self._queue.add(agent)

    async def _sweep(self) -> None:
        """Queue each agent whose branches differ from the last look."""
        agents = self._world.observer.known().agents
        self._watch.want(None, [self._layout.state / "proposed", self._layout.push_repos])
        for agent in set(self._stamps) - set(agents):
            await self._forget(agent)
        self._lying = {agent: tuple(_lying(self._layout, agent)) for agent in agents}
        unchanged = [agent for agent in agents if self._stamps.get(agent) == self._stamp(agent)]
        self._glance()  # queues the others
        for agent in unchanged:
            try:
                if await self._differs(agent):
                    self._queue.add(agent)
            except (OSError, TransientError) as error:  # concerns this agent only: look at the others
                self._waiting[agent] = one_line(f"its proposed repos cannot be looked at: {error}", NOTE_LIMIT)
                log.warning("%s: %s", agent, self._waiting[agent], extra={"limited": f"{agent} discovery"})

    async def _differs(self, agent: AgentName) -> bool:
        for kind in PLACES:
            repo = self._repo(agent, kind)
            if repo.snapshot is None:
                return True
            snapshot = await self._read(agent, kind, repo.snapshot)
            if not snapshot.same(repo.snapshot):  # a look may have read it meanwhile
                return True
        return False

    def _place(self, agent: AgentName, kind: SourceKind) -> Place:
        return PLACES[kind](self._layout, agent)

    async def _read(self, agent: AgentName, kind: SourceKind, before: Snapshot | None) -> Snapshot:
        """Read the branches of one repo; none of a push repo that is not as hive made it.

        In a thread: there may be thousands, and a pusher can make reading slow.
        """
        return await asyncio.to_thread(self._read_here, agent, kind, before)

    def _read_here(self, agent: AgentName, kind: SourceKind, before: Snapshot | None) -> Snapshot:
        place = self._place(agent, kind)
        if kind is SourceKind.PUSH and os.path.lexists(place.repo / "HEAD"):  # without HEAD it is no repo to git
            complaint = push_repo.complaint(self._layout, agent)
            if complaint is not None:
                return Snapshot(folders=(place.path,), complaint=complaint)
        return read_tips(place.top, place.git_directory, before)

    # one look
    async def _work(self, agent: AgentName) -> float | None:
        """Look at both repos of an agent. Return the seconds until the next look, or None to wait for a hint."""
        if agent not in (await self._world.observer.desired()).agents:
            return None
        self._waiting.pop(agent, None)
        deploys = await self._world.observer.refresh(agent)
        self._stamps[agent] = self._stamp(agent)
        if deploys:
            await self._push_mains.bring(agent)
        applied = self._world.applied(agent)
        before = self._repo(agent, SourceKind.PUSH).snapshot
        snapshots = {kind: await self._look(agent, kind) for kind in PLACES}
        await self._note_branches(agent, snapshots)
        if await supersede(applied, deploys, self._branches.of(agent), by=HIVE, at=self._world.now()):
            self._look_now(agent)  # the loop makes the cards agree
        await applied.remove_ended()
        main = await applied.main()
        delays: list[float] = [AGAIN] if applied.kept.held() else []
        for kind, snapshot in snapshots.items():
            for new in await self._new_tips(agent, kind, deploys, main):
                if await self._skip_deployed(agent, new, main):
                    continue
                if delay := self._take(agent, kind):
                    most = self._world.config.finds_per_minute
                    self._waiting[agent] = f"{address(Source.of(kind), agent)}: more tips than {most} a minute"
                    delays.append(delay)
                    break
                await self._propose(agent, new)
            if not snapshot.settled:
                delays.append(SETTLED_NS / 1e9)
        if self._offers is not None:
            await self._offers.look(agent, deploys)
        if before is not None and before.tips != snapshots[SourceKind.PUSH].tips:
            self._pruning.look_at(agent)
        return min(delays, default=None)

    async def _look(self, agent: AgentName, kind: SourceKind) -> Snapshot:
        """Read the branches of one repo, watch its folders, and drop refusals of tips that it no longer has."""
        repo, place = self._repo(agent, kind), self._place(agent, kind)
        before = repo.snapshot
        snapshot = repo.snapshot = await self._read(agent, kind, before)
        if snapshot.complaint and (before is None or before.complaint != snapshot.complaint):
            log.warning("%s: %s", agent, snapshot.complaint, extra={"limited": f"{agent} tips"})
        folders = [self._layout.proposed(agent), *snapshot.folders]
        if snapshot.complaint:
            folders.append(place.path.parent)  # a new git directory appears there
        self._watch.want((agent, kind), folders)
        await self._refusals.follow(agent, kind, snapshot)
        return snapshot

    async def _note_branches(self, agent: AgentName, snapshots: Mapping[SourceKind, Snapshot]) -> None:
        """Note the commit that each branch proposes now."""
        auto_propose = await self._auto_propose(agent)
        tips = {
            Source.of(kind, branch): tip.sha
            for kind, snapshot in snapshots.items()
            for branch, tip in snapshot.tips.items()
            if is_proposable(kind, branch, auto_propose)
        }
        self._branches.note(agent, tips)

    async def _new_tips(
        self, agent: AgentName, kind: SourceKind, deploys: tuple[Deploy, ...], main: Sha | None
    ) -> tuple[NewTip, ...]:
        repo = self._repo(agent, kind)
        tips = repo.snapshot.tips if repo.snapshot is not None else {}
        auto_propose = kind is SourceKind.WORK_TREE and "main" in tips and await self._auto_propose(agent)
        candidates = [tip for tip in tips.values() if not self._refusals.has(agent, kind, tip)]
        seen = self._seen.get(agent, {})
        return new_tips(kind, candidates, seen, deploys, main=main, auto_propose=auto_propose)

    async def _auto_propose(self, agent: AgentName) -> bool:
        """Return True if the agent's own agent.toml, as it runs, has auto_propose."""
        settings = await self._settings.of(agent)
        return settings is not None and settings.auto_propose

    def _take(self, agent: AgentName, kind: SourceKind) -> float:
        """Take a token for one proposal and return 0.0, or return the seconds until there is one."""
        repo = self._repo(agent, kind)
        repo.bucket, delay = repo.bucket.take(self._world.clock(), self._world.config.finds_per_minute)
        return delay

    async def _skip_deployed(self, agent: AgentName, new: NewTip, main: Sha | None) -> bool:
        """Return True if the tip is part of what is deployed, and so proposes nothing. It is not looked at again."""
        applied, sha = self._world.applied(agent), new.tip.sha
        if main is None or not await applied.has(sha) or not await applied.is_ancestor(sha, main):
            return False
        await self._note_seen(agent, new)
        return True

    async def _note_seen(self, agent: AgentName, new: NewTip) -> None:
        source, sha = str(new.source), new.tip.sha
        await self._store.save(agent, source, sha, self._world.now())
        self._seen.setdefault(agent, {})[source] = sha

    def _give_back(self, agent: AgentName, kind: SourceKind) -> None:
        repo = self._repo(agent, kind)
        repo.bucket = Bucket(repo.bucket.left + 1.0, repo.bucket.at)

    # one tip
    async def _propose(self, agent: AgentName, new: NewTip) -> None:
        kind, tip = new.source.kind, new.tip
        try:
            deploy = await self._make_proposal(agent, new.by, tip.sha, "", self._place(agent, kind).repo, new.source)
        except TransientError:
            raise
        except Conflict as error:  # too many proposals wait: a decision makes room
            text = one_line(f"{address(new.source, agent)} waits: {error.describe()}", NOTE_LIMIT)
            self._waiting[agent] = text
            log.info("%s: %s", agent, text, extra={"limited": f"{agent} waits"})
            self._give_back(agent, kind)
            return
        except HiveError as error:
            if (await self._look(agent, kind)).tips.get(tip.branch) == tip:  # otherwise it changed during the fetch
                await self._refusals.add(agent, new, error.describe())
            return
        await self._refusals.accept(agent, new)
        log.info("%s: found %s at %s, proposal %s", agent, address(new.source, agent), tip.sha[:12], deploy.id)
        await self._note_seen(agent, new)

    # state
    def _repo(self, agent: AgentName, kind: SourceKind) -> _Repo:
        repo = self._repos.get((agent, kind))
        if repo is None:
            bucket = Bucket(float(self._world.config.finds_per_minute), self._world.clock())
            repo = self._repos[agent, kind] = _Repo(bucket)
        return repo

    def _repos_of(self, agent: AgentName) -> Iterator[tuple[SourceKind, _Repo]]:
        for kind in PLACES:
            repo = self._repos.get((agent, kind))
            if repo is not None:
                yield kind, repo

    async def _forget(self, agent: AgentName) -> None:
        """Drop the state of a destroyed agent. Its seen tips stay for as long as its repos are kept."""
        self._stamps.pop(agent, None)
        self._waiting.pop(agent, None)
        self._lying.pop(agent, None)
        self._pruning.forget(agent)
        self._push_mains.forget(agent)
        if self._offers is not None:
            self._offers.forget(agent)
        for kind in PLACES:
            self._watch.want((agent, kind), [])
            self._repos.pop((agent, kind), None)
        self._refusals.drop(agent)
        self._branches.forget(agent)
        if agent not in self._world.observer.names():
            await self._store.forget(agent)
            self._seen.pop(agent, None)
            await self._refusals.forget(agent)

    def _failed(self, agent: AgentName, error: HiveError | None) -> None:
        self._waiting[agent] = one_line(f"discovery: {error.summary if error else 'failed inside, see the log'}", 300)
        log.warning("%s: %s", agent, self._waiting[agent], extra={"limited": f"{agent} discovery"})


def _lying(layout: Layout, agent: AgentName) -> Iterator[str]:
    """Yield what lies on the disk that hive does not use."""
    yield from (push_move.aside_line(layout, path) for path in push_move.aside(layout, agent))
    if planted := push_move.planted(layout, agent):
        yield str(planted)
