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
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from meta.config import Config
from meta.desired import trailers
from meta.desired.agents_json import AGENTS_FILE, RUN_FILE, encode_agents, encode_run
from meta.desired.changes import Changed, check_uid, note, tree_with, with_entry, write_files
from meta.desired.flake import FLAKE_FILE, render
from meta.desired.flake_lock import LOCK_FILE, merge_lock, prune_lock
from meta.desired.reader import CANDIDATES, MAIN, RUN, MetaReader, candidate_ref
from meta.desired.run_branch import Counter, RunBranch
from meta.desired.uid_ranges import LOWEST
from meta.desired.uids import uid_for
from meta.desired.view import LogEntry, MetaView, log_entry
from meta.errors import Conflict, HiveError, NotFound, TransientError
from meta.git.message import encode
from meta.git.objects import TreeEntry, commit
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
from meta.names import AgentName, ProposalId, Sha
from meta.process.disk import disk_error
from meta.process.failpoint import operation
from meta.process.privilege import FIRST_UID

__all__ = ["LockFlake", "LogEntry", "MetaRepo", "MetaView"]

log = logging.getLogger(__name__)

LockFlake = Callable[[Path], Awaitable[None]]
"""Updates flake.lock in a directory (`nix flake lock`)."""

_TRIES = 8
_ACTIONS = {DeployKind.APPLY_COMMIT: "deploy", DeployKind.ROLLBACK: "rollback", DeployKind.SPAWN: "spawn"}
_Change = Callable[[MetaView], Changed | None]


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
        self._lock_flake = lock_flake
        self.repo = GitRepo(layout.meta_git, git_environment, deadline)
        self.lock = asyncio.Lock()
        self._reader = MetaReader(self.repo, self._first_uid)
        self._run = RunBranch(self.repo, self.read)
        self._ids = Counter(self.repo)

    # creation and reading
    async def create(self, at: int) -> None:
        """Create the repo with two empty branches, or the missing parts of it. Safe to repeat after a kill."""
        await self.repo.init(("refs/heads", CANDIDATES))
        await self._reader.require_branches()
        await self._ids.mend()
        empty = Desired(ABSENT, {})
        for ref, files in ((MAIN, self._files(empty)), (RUN, {RUN_FILE: encode_run({})})):
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

    # the two changes of a deploy
    async def candidate(
        self, agent: AgentName, id: ProposalId, entry: AgentEntry | None, *, pin: Pin, role: Role, by: str, at: int
    ) -> Sha:
        """A3: commit HEAD with this one change at the candidate's ref; return the commit.

        Without an `entry` it is a spawn: the entry gets `pin`, `role` and a uid range, see meta/desired/uids.py.
        """
        async with self.lock:
            view = await self.read()
            wanted = entry or self._new_entry(view, agent, pin, role)
            agents, tombstones = with_entry(view, agent, wanted)
            desired = replace(view.desired, agents=agents, tombstones=tombstones)
            files = self._files(desired)
            base = await self._reader.tree(view.desired.head)
            if self._lock_flake is not None:
                locked = await self._locked(self._lock_flake, files, await self._reader.content(base, LOCK_FILE))
                files |= {LOCK_FILE: locked} if locked is not None else {}
            root, objects = tree_with(base, files)
            values = {trailers.ACTION: "candidate", trailers.AGENT: agent, trailers.ID: str(id), trailers.BY: by}
            candidate = commit(root, (view.desired.head,), encode(f"candidate {agent} {id}", trailers=values), at)
            await self.repo.transaction([RefChange(candidate_ref(agent, id), new=candidate.id)], [*objects, candidate])
            return candidate.id

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

        head = await self._commit(
            change, encode(f"{action} {agent} {id} ({sha[:12]})", trailers=values), at, (agent, id)
        )
        return (await self.read()).committed.get(agent, {}).get(id, head)

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

        head = await self._commit(change, note("destroy", agent, by, "purge" if purge else ""), at)
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
        return await self._commit(change, note(trailers.FORGET, agent, by), at)

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
        return await self._commit(change, note("adopt", agent, by, f"ids given up: {ids}", values), at)

    # run state and ids
    async def set_run(self, agent: AgentName, change: Callable[[RunEntry], RunEntry], *, by: str, at: int) -> RunEntry:
        """Change the agent's entry of run.json; return the new one."""
        return await self._run.change(agent, change, by, at) or RunEntry()

    async def take_id(self, at_least: int = 1) -> ProposalId:
        """P1: take the next id: at least `at_least`, and never one that the counter or a trailer already had."""
        return await self._ids.take(max(at_least, (await self.read()).highest_id + 1))

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

    async def _commit(
        self, change: _Change, message: str, at: int, locked_by: tuple[AgentName, ProposalId] | None = None
    ) -> Sha:
        """Commit `change` of HEAD to `main`; return the new HEAD. Retry if another commit was first.

        A change that returns None makes no commit.
        """
        async with self.lock:
            for _ in range(_TRIES):
                view = await self.read()
                head = view.desired.head
                changed = change(view)
                if changed is None:
                    return head
                desired = replace(view.desired, agents=changed[0], tombstones=changed[1])
                files = self._files(desired)
                base = await self._reader.tree(head)
                lock = await self._lock_file(base, desired, locked_by)
                root, objects = tree_with(base, {**files, **({LOCK_FILE: lock} if lock is not None else {})})
                new = commit(root, (head,), message, at)
                try:
                    await self.repo.transaction([RefChange(MAIN, new=new.id, old=head)], [*objects, new])
                except Conflict as error:
                    log.info("meta main moved meanwhile, retrying: %s", error)
                    continue
                await self._export_or_warn()
                return new.id
        raise TransientError("other commits moved meta main at every try", "try again")

    async def _lock_file(
        self, base: list[TreeEntry], desired: Desired, locked_by: tuple[AgentName, ProposalId] | None
    ) -> bytes | None:
        """Return flake.lock for `desired`: that of HEAD, with the input that the candidate of `locked_by` locked."""
        head = await self._reader.content(base, LOCK_FILE)
        ref = self.repo.ref(candidate_ref(*locked_by)) if locked_by is not None else None
        theirs = await self._reader.content(await self._reader.tree(ref), LOCK_FILE) if ref is not None else None
        if theirs is not None and locked_by is not None:
            return merge_lock(head, theirs, locked_by[0], desired.agents.keys())
        return prune_lock(head, desired.agents.keys()) if head is not None else None

    async def _export_or_warn(self) -> None:
        try:
            await self.export()
        except HiveError as error:  # the commit is valid
            log.warning("cannot read the files of meta for the manager: %s", error)

    async def _locked(self, lock_flake: LockFlake, files: Mapping[str, bytes], lock: bytes | None) -> bytes | None:
        scratch = self._layout.scratch / f"meta-{secrets.token_hex(8)}"
        content = {**files, **({LOCK_FILE: lock} if lock is not None else {})}
        try:
            await asyncio.to_thread(write_files, scratch, content)
            await lock_flake(scratch)
            path = scratch / LOCK_FILE
            return await asyncio.to_thread(path.read_bytes) if path.exists() else None
        except OSError as error:
            raise disk_error(f"cannot lock the meta flake in {scratch}", error) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    def _files(self, desired: Desired) -> dict[str, bytes]:
        config = self._config
        flake = render(desired, self._layout.applied_git, config.nixpkgs, config.hyperhive, config.dashboard_port)
        return {AGENTS_FILE: encode_agents(desired.agents, desired.tombstones, self._first_uid), FLAKE_FILE: flake}

    def _new_entry(self, view: MetaView, agent: AgentName, pin: Pin, role: Role) -> AgentEntry:
        grave = view.desired.tombstones.get(agent)
        uid = uid_for(view, agent, self._config.uid_start, self._layout)
        return AgentEntry(pin, ContainerSettings(role, uid), grave.disowned if grave is not None else frozenset())
