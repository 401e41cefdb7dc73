"""The meta repo: desired state. A commit on `main` is the one commit point of a deploy (A8).

main  agents.json, flake.nix, flake.lock: pins, roles, limits, uid ranges; its log is the deploy log of all agents
run   run.json: running or stopped, restart counters
refs/hive/candidate/<agent>.<id>  a commit beside main: HEAD with one agent's change (A3)
refs/hive/counter                 a blob with the last id that was taken (P1)

Every change is a compare-and-swap on the branch's ref. If it fails, it is retried on the new HEAD, so that no other
commit is lost. Reading starts no process while nothing changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from meta.config import Config
from meta.desired import trailers
from meta.desired.agents_json import RUN_FILE, encode_run
from meta.desired.changes import Changed, Entering, RunNote, check_uid, note, tree_with, with_entry, write_files
from meta.desired.flake_files import Flakes, LockFlake
from meta.desired.main_branch import MainBranch
from meta.desired.reader import CANDIDATES, MAIN, RUN, MetaReader, candidate_ref
from meta.desired.run_branch import Counter, RunBranch
from meta.desired.uid_ranges import LOWEST
from meta.desired.uids import uid_for
from meta.desired.view import LogEntry, MetaView, log_entry
from meta.errors import Conflict, HiveError, NotFound
from meta.git.message import encode
from meta.git.objects import commit
from meta.git.repo import GitRepo
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import (
    AgentEntry,
    ContainerSettings,
    Deploy,
    DeployKind,
    Desired,
    Pin,
    Role,
    RunEntry,
    RunState,
    Tombstone,
)
from meta.names import OLDER_ID_LIMIT, AgentName, ProposalId, Sha
from meta.process.failpoint import operation
from meta.process.privilege import FIRST_UID

__all__ = ["LockFlake", "LogEntry", "MetaRepo", "MetaView"]

log = logging.getLogger(__name__)

_ACTIONS = {DeployKind.APPLY_COMMIT: "deploy", DeployKind.ROLLBACK: "rollback", DeployKind.SPAWN: "spawn"}


class MetaRepo:
    """The meta repo. Without nix `lock_flake` is None, and there is no flake.lock."""

    def __init__(
        self,
        layout: Layout,
        *,
        config: Config | None = None,
        git_environment: Mapping[str, str] | None = None,
        deadline: float = 30,
        lock_flake: LockFlake | None = None,
    ) -> None:
        self._layout = layout
        self._config = config or Config.model_validate({})
        # What was given out before the start was raised stays valid. Without settings the least start counts.
        self._first_uid = min(FIRST_UID, self._config.uid_start) if config is not None else LOWEST
        self.repo = GitRepo(layout.meta_git, git_environment, deadline)
        self._reader = MetaReader(self.repo, self._first_uid)
        self._flakes = Flakes(layout, self._config, self._reader, lock_flake, self._first_uid)
        self.main = MainBranch(self.repo, self._reader, self._flakes, self._export_or_warn)
        self.lock = self.main.lock
        self._run = RunBranch(self.repo, self.read)
        self._ids = Counter(self.repo)

    # creation and reading
    async def create(self, at: int) -> None:
        """Create the repo with two empty branches, or the missing parts of it. Safe to repeat after a kill."""
        await self.repo.init(("refs/heads", CANDIDATES))
        await self._reader.require_branches()
        await self._ids.mend()
        empty = Desired(ABSENT, {})
        for ref, files in (
            (MAIN, self._flakes.files(empty, self._flakes.plain(empty))),
            (RUN, {RUN_FILE: encode_run({})}),
        ):
            if self.repo.ref(ref) is None:
                root, objects = tree_with([], files)
                first = commit(root, (), encode("begin", trailers={trailers.ACTION: "create"}), at)
                await self.repo.transaction([RefChange(ref, new=first.id, old=ABSENT)], [*objects, first])
        await self.export()

    def stamp(self) -> str | None:
        """Return a text that changes whenever a branch or a candidate does; None if there is no repo.

        Start no process.
        """
        return self._reader.stamp()

    async def read(self) -> MetaView:
        """Return the present state of meta: the same value while nothing changes. Only new commits are read.

        Raise NotFound without a repo; BadInput if a commit has an agents.json that hive cannot parse.
        """
        return await self._reader.read()

    def known(self) -> Desired:
        """Return the value that `read` returned last. Raise RuntimeError before the first read."""
        return self._reader.last().desired

    async def log(self, limit: int = 50) -> tuple[LogEntry, ...]:
        """Return at most `limit` commits on `main`, newest first."""
        head = (await self.read()).desired.head
        return tuple(log_entry(entry) for entry in await self.repo.log(head, limit=limit))

    # shared inputs
    @property
    def settled(self) -> bool:
        """True once the shared inputs of `main` are known to be those that are configured, or if there are none."""
        return self.main.settled

    async def settle(self, at: int) -> bool:
        """Make the shared inputs of `main` those that are configured, see `MainBranch.settle`."""
        return await self.main.settle(at)

    async def inputs(self, commit: Sha) -> tuple[object, ...]:
        """Return a value that differs for two commits with other shared inputs."""
        return (await self._flakes.at(commit)).inputs

    # the two changes of a deploy
    async def candidate(
        self,
        agent: AgentName,
        id: ProposalId,
        entry: AgentEntry | None,
        *,
        pin: Pin,
        role: Role,
        by: str,
        at: int,
        like: Sha | None = None,
    ) -> Sha:
        """A3: commit HEAD with this one change at the candidate's ref; return the commit.

        Without an `entry` it is a spawn: the entry gets `pin`, `role` and a uid range, see meta/desired/uids.py.
        The shared inputs are those that are configured, or those of the commit `like`.
        """

        def change(view: MetaView) -> Changed:
            return with_entry(view, agent, entry or self._new_entry(view, agent, pin, role))

        ref = candidate_ref(agent, id)
        values = {trailers.ACTION: "candidate", trailers.AGENT: agent, trailers.ID: str(id), trailers.BY: by}
        return await self.main.beside(ref, change, encode(f"candidate {agent} {id}", trailers=values), at, like=like)

    async def commit_agent(
        self,
        agent: AgentName,
        id: ProposalId,
        entry: AgentEntry,
        *,
        kind: DeployKind,
        generation: str,
        by: str,
        at: int,
        sha: Sha,
    ) -> Sha:
        """A8, the commit point: make this one change again on the present HEAD; return the commit.

        If an earlier call made the commit, return that one.
        """
        action = _ACTIONS[kind]
        values = {
            trailers.ACTION: action,
            trailers.ID: str(id),
            trailers.AGENT: agent,
            trailers.SHA: sha,
            trailers.GENERATION: generation,
            trailers.BY: by,
        }

        def change(view: MetaView) -> Changed | None:
            if id in view.committed.get(agent, {}):
                return None
            current = view.desired.agents.get(agent)
            if (current is None) is not (kind is DeployKind.SPAWN):
                there = "does not exist any more" if current is None else "exists already"
                raise Conflict(f"{agent} {there}, {id} cannot be committed", "`hive log` shows what happened")
            wanted = entry if current is None else replace(current, pin=entry.pin)
            check_uid(view, agent, wanted)
            return with_entry(view, agent, wanted)

        head = await self.main.commit(
            change, encode(f"{action} {agent} {id} ({sha[:12]})", trailers=values), at, (agent, id)
        )
        return (await self.read()).committed.get(agent, {}).get(id, head)

    async def note_rebuild(self, agent: AgentName, id: ProposalId, *, generation: str, by: str, at: int) -> bool:
        """Record that `id` is built from the shared inputs of HEAD now.

        Return False if there is nothing to record: it was before, or another id is pinned meanwhile.
        So a later repair gives what the rebuild gave, and no rebuild is needed to know what runs.
        """
        view = await self.read()
        head, source = view.desired.head, view.sources.get(agent, {}).get(id)
        if source is None or await self.inputs(source) == await self.inputs(head):
            return False

        pinned = False

        def change(view: MetaView) -> Changed | None:
            nonlocal pinned
            entry = view.desired.agents.get(agent)
            pinned = entry is not None and entry.pin.id == id
            return (dict(view.desired.agents), dict(view.desired.tombstones)) if pinned else None

        values = {trailers.ID: str(id), trailers.GENERATION: generation}
        await self.main.commit(change, note(trailers.REBUILD, agent, by, also=values), at)
        return pinned

    async def drop_candidate(self, agent: AgentName, id: ProposalId) -> None:
        """Remove the candidate's ref if it exists."""
        if self.repo.ref(candidate_ref(agent, id)) is not None:
            await self.repo.transaction([RefChange(candidate_ref(agent, id), new=ABSENT)])

    # other changes of main
    async def remove_agent(
        self, agent: AgentName, *, purge: bool, by: str, at: int, disown: frozenset[ProposalId] = frozenset()
    ) -> Sha:
        """Replace the entry by a tombstone that gives up the ids in `disown`.

        With `purge` or `disown`, also write a tombstone for a name that meta does not know: a spawn that never ended,
        or an agent that is younger than a restored meta.
        """

        def change(view: MetaView) -> Changed | None:
            agents, tombstones = dict(view.desired.agents), dict(view.desired.tombstones)
            entry, old = agents.pop(agent, None), tombstones.get(agent)
            if entry is not None:
                grave = Tombstone(entry.settings.uid_base, entry.pin, purge, entry.disowned | disown)
            elif old is not None:
                grave = replace(old, purge=old.purge or purge, disowned=old.disowned | disown)
            elif purge or disown:
                uid = uid_for(view, agent, self._config.uid_start, self._layout)
                grave = Tombstone(uid, Pin(ProposalId(0), ABSENT), purge, disown)
            else:
                return None
            tombstones[agent] = grave
            return None if entry is None and grave == old else (agents, tombstones)

        head = await self.main.commit(change, note("destroy", agent, by, "purge" if purge else ""), at)
        operation("committed")
        if (await self.read()).desired.run_of(agent).state is RunState.STOPPED:
            await self.set_run(agent, lambda run: replace(run, state=RunState.RUNNING, with_all=False), by=by, at=at)
        return head

    async def forget_tombstone(self, agent: AgentName, *, by: str, at: int) -> Sha:
        """Free the name of a purged agent, as if it had never existed."""

        def change(view: MetaView) -> Changed | None:
            if agent not in view.desired.tombstones:
                return None
            graves = {name: grave for name, grave in view.desired.tombstones.items() if name != agent}
            return dict(view.desired.agents), graves

        await self._run.change(agent, lambda _: None, by, at)
        operation("run")
        return await self.main.commit(change, note(trailers.FORGET, agent, by), at)

    async def adopt(
        self, agent: AgentName, deploy: Deploy | None, *, disown: frozenset[ProposalId], by: str, at: int
    ) -> Sha:
        """End a disagreement: pin what runs (`deploy`). Without a `deploy` keep the pin, and give up the ids in
        `disown`.
        """

        def change(view: MetaView) -> Changed | None:
            agents, tombstones = dict(view.desired.agents), dict(view.desired.tombstones)
            grave = tombstones.get(agent)
            if agent in agents or deploy is not None:
                pin = Pin(deploy.id, deploy.sha) if deploy is not None else agents[agent].pin
                entry = agents.get(agent) or self._new_entry(view, agent, pin, Role.AGENT)
                agents[agent] = replace(entry, pin=pin, disowned=entry.disowned | disown)
                tombstones.pop(agent, None)
            elif grave is not None:
                tombstones[agent] = replace(grave, disowned=grave.disowned | disown)
            else:
                raise NotFound(
                    f"meta does not know {agent}", f"`hive adopt {agent} --running`, or `hive destroy {agent}`"
                )
            return agents, tombstones

        values = {trailers.ID: str(deploy.id), trailers.SHA: deploy.sha} if deploy is not None else {}
        ids = ", ".join(map(str, sorted(disown)))
        return await self.main.commit(change, note("adopt", agent, by, f"ids given up: {ids}", values), at)

    async def enter(self, agents: Mapping[AgentName, Entering], *, by: str, at: int) -> Sha:
        """Make an entry for each of `agents` that meta does not know, all in one commit, and lock the flake once.

        No later id will be one of those that they had before.
        """
        await self._ids.reach(max((id for one in agents.values() for id in one.disowned), default=ProposalId(0)))

        def change(view: MetaView) -> Changed | None:
            fresh = [name for name in sorted(agents) if name not in {*view.desired.agents, *view.desired.tombstones}]
            for name in fresh:
                entry = self._new_entry(view, name, agents[name].pin, agents[name].role)
                entries, graves = with_entry(view, name, replace(entry, disowned=agents[name].disowned))
                view = replace(view, desired=replace(view.desired, agents=entries, tombstones=graves))
            return (dict(view.desired.agents), dict(view.desired.tombstones)) if fresh else None

        values = {trailers.ACTION: "migrate", trailers.BY: by}
        message = encode("migrate agents of an older hive", ", ".join(sorted(agents)), values)
        return await self.main.commit(change, message, at, lock=True)

    # run state and ids
    async def set_run(
        self,
        agent: AgentName,
        change: Callable[[RunEntry], RunEntry],
        *,
        by: str,
        at: int,
        words: RunNote | None = None,
    ) -> RunEntry:
        """Change the agent's entry of run.json; return the new one. `words` are those of the commit."""
        return await self._run.change(agent, change, by, at, words) or RunEntry()

    async def take_id(self, at_least: int = 1) -> ProposalId:
        """P1: take the next id: at least `at_least`, and never one that the counter, a trailer or an entry already had.

        An entry names ids that were given up, also those of an older hive.
        """
        view = await self.read()
        given_up = [entry.disowned for entry in view.desired.agents.values()]
        given_up += [grave.disowned for grave in view.desired.tombstones.values()]
        highest = max((id for ids in given_up for id in ids if id < OLDER_ID_LIMIT), default=0)
        return await self._ids.take(max(at_least, view.highest_id + 1, highest + 1))

    async def export(self) -> None:
        """Write the files of `main` beside the repo, where the manager reads them. Safe to repeat.

        They are copies: if they cannot be written, only warn. The next commit or the next start writes them.
        """
        head = self.repo.ref(MAIN)
        if head is None:
            return
        files = await self._reader.files(head)
        try:
            await asyncio.to_thread(write_files, self._layout.meta, files)
        except HiveError as error:
            log.warning("cannot write the files of meta for the manager: %s", error)

    async def _export_or_warn(self) -> None:
        try:
            await self.export()
        except HiveError as error:  # the commit is valid
            log.warning("cannot read the files of meta for the manager: %s", error)

    def _new_entry(self, view: MetaView, agent: AgentName, pin: Pin, role: Role) -> AgentEntry:
        grave = view.desired.tombstones.get(agent)
        uid = uid_for(view, agent, self._config.uid_start, self._layout)
        return AgentEntry(pin, ContainerSettings(role, uid), grave.disowned if grave is not None else frozenset())
