"""Read the meta repo as one value and keep it until a ref moves. Then read only new commits, without a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from meta.desired.agents_json import AGENTS_FILE, RUN_FILE, Agents, decode_agents, decode_entry, decode_run
from meta.desired.uid_ranges import LOWEST
from meta.desired.view import History, MetaView, extend
from meta.errors import Damaged, HiveError, NotFound, PermanentError
from meta.git.damage import newest_commit
from meta.git.objects import FILE, TreeEntry, decode_tree
from meta.git.ref_stamp import RefStamp
from meta.git.repo import GitRepo
from meta.model import Candidate, Desired
from meta.names import AgentName, ProposalId, Sha, agent_name

log = logging.getLogger(__name__)

MAIN, RUN = "refs/heads/main", "refs/heads/run"
CANDIDATES = "refs/hive/candidate"
COUNTER = "refs/hive/counter"

_WALK = 64
"""New commits that are read one by one. `git log` reads a larger number at once."""


class MetaReader:
    """The reader of one meta repo. It keeps what it read. Agents with uids below `first_uid` are a fault."""

    def __init__(self, repo: GitRepo, first_uid: int = LOWEST) -> None:
        self._repo = repo
        self._first_uid = first_uid
        self._reading = asyncio.Lock()
        self._stamp = RefStamp(repo.path, ("refs/heads", CANDIDATES))
        self._seen: tuple[str, MetaView] | None = None
        self._refs: dict[str, Sha] = {}
        self._agents = Agents()
        self._history = History()

    def stamp(self) -> str | None:
        """Return a text that changes whenever a branch or a candidate does; None if there is no repo."""
        return self._stamp.read()

    async def read(self) -> MetaView:
        """Return the present state of meta: the same value while nothing changes. Only new commits are read.

        Raise NotFound without a repo; BadInput if a commit has an agents.json that hive cannot parse.
        """
        stamp = self.stamp()
        if stamp is not None and self._seen is not None and self._seen[0] == stamp:
            return self._seen[1]
        async with self._reading:
            stamp = self.stamp()
            refs = self._repo.refs(("refs/heads", CANDIDATES))
            if stamp is None or MAIN not in refs:
                if stamp is not None:
                    await self.require_branches()
                raise NotFound(f"there is no meta repo at {self._repo.path}", "start the daemon: it creates one")
            if self._seen is None or refs != self._refs:
                if RUN not in refs:
                    await self.require_branches()
                view = await self._view(refs, self._seen[1] if self._seen else None)
            else:
                view = self._seen[1]
            self._refs = refs
            self._seen = (stamp, view)
            return view

    async def require_branches(self) -> None:
        """Raise Damaged if a repo that was in use lacks a branch. A new branch would say that there are no agents.

        `main` is created before `run`, and nothing is committed before both exist.
        """
        main, run = self._repo.ref(MAIN), self._repo.ref(RUN)
        try:
            used = self._repo.ref(COUNTER) is not None
        except Damaged:
            used = True
        if main is None:
            lost = await asyncio.to_thread(newest_commit, self._repo.path, AGENTS_FILE.encode())
            used = used or run is not None or (lost is not None and bool((await self._repo.commit(lost)).parents))
        elif run is None:
            used = used or bool((await self._repo.commit(main)).parents)
        if used and (main is None or run is None):
            missing = MAIN if main is None else RUN
            raise Damaged(self._repo.path / missing, "it is missing, but the rest of the repo exists")

    def last(self) -> MetaView:
        """Return the value that `read` returned last. Raise RuntimeError before the first read."""
        if self._seen is None:
            raise RuntimeError("read() was not awaited yet")
        return self._seen[1]

    async def tree(self, sha: Sha) -> list[TreeEntry]:
        """Return the top folder of a commit."""
        root = (await self._repo.commit(sha)).tree
        top = (await self._repo.objects([root])).get(root)
        if top is None:
            raise Damaged(f"the tree of the commit {sha[:12]} in {self._repo.path}", "it is missing")
        return decode_tree(top.data)

    async def content(self, entries: list[TreeEntry], name: str) -> bytes | None:
        """Return one file of a top folder; None if it is not there."""
        for entry in entries:
            if entry.name == name.encode():
                content = (await self._repo.objects([entry.id])).get(entry.id)
                if content is None:
                    raise Damaged(f"{name} in {self._repo.path}", f"its object {entry.id} is missing")
                return content.data
        return None

    async def files(self, sha: Sha) -> dict[str, bytes]:
        """Return the plain files in the top folder of a commit."""
        entries = [entry for entry in await self.tree(sha) if entry.mode == FILE]
        blobs = await self._repo.objects(entry.id for entry in entries)
        for entry in entries:
            if entry.id not in blobs:
                name = entry.name.decode("utf-8", "replace")
                raise Damaged(f"{name} in {self._repo.path}", f"its object {entry.id} is missing")
        return {entry.name.decode("utf-8", "replace"): blobs[entry.id].data for entry in entries}

    async def _view(self, refs: Mapping[str, Sha], before: MetaView | None) -> MetaView:
        head = refs[MAIN]
        desired = before.desired if before is not None else None
        if desired is None or desired.head != head:
            history = await self._new_history(head, desired.head if desired is not None else None)
            agents = decode_agents(await self._file(head, AGENTS_FILE), self._agents, self._first_uid)
            self._history, self._agents = history, agents
            desired = Desired(head, agents.agents, agents.tombstones, desired.run if desired is not None else {})
        run = refs.get(RUN)
        if before is None or run != self._refs.get(RUN):
            desired = replace(desired, run=decode_run(await self._file(run, RUN_FILE)) if run is not None else {})
        candidates = await self._candidates(refs, before)
        history = self._history
        return MetaView(desired, history.committed, history.commits, candidates, history.highest, history.sources)

    async def _new_history(self, head: Sha, before: Sha | None) -> History:
        """Return the history up to `head`. Read only the new commits if they lead straight to `before`."""
        fresh = []
        at = head
        for _ in range(_WALK if before is not None else 0):
            one = await self._repo.commit(at)
            fresh.append(one)
            if len(one.parents) != 1:
                break
            at = one.parents[0]
            if at == before:
                return extend(self._history, reversed(fresh))
        return extend(History(), reversed(await self._repo.log(head)))

    async def _candidates(
        self, refs: Mapping[str, Sha], before: MetaView | None
    ) -> dict[AgentName, dict[ProposalId, Candidate]]:
        candidates: dict[AgentName, dict[ProposalId, Candidate]] = {}
        for ref, sha in refs.items():
            parsed = _parse_candidate(ref)
            if parsed is None:
                continue
            agent, id = parsed
            old = before.candidates.get(agent, {}).get(id) if before is not None else None
            if old is None or old.commit != sha:
                old = await self._candidate(ref, sha, agent)
            if old is not None:
                candidates.setdefault(agent, {})[id] = old
        return candidates

    async def _candidate(self, ref: str, sha: Sha, agent: AgentName) -> Candidate | None:
        try:
            entry = decode_entry(await self._file(sha, AGENTS_FILE), agent, self._first_uid)
        except PermanentError as error:
            log.warning("ignoring %s, the next build makes it again: %s", ref, error)
            return None
        return Candidate(sha, entry) if entry is not None else None

    async def _file(self, sha: Sha, name: str) -> bytes:
        content = await self.content(await self.tree(sha), name)
        if content is None:
            raise NotFound(f"meta {sha[:12]} has no {name}", "repair it with a commit on meta")
        return content


def candidate_ref(agent: AgentName, id: ProposalId) -> str:
    """Return the ref of a candidate. All are in one folder, so that one `stat` shows whether any changed."""
    return f"{CANDIDATES}/{agent}.{id}"


def _parse_candidate(ref: str) -> tuple[AgentName, ProposalId] | None:
    folder, _, name = ref.rpartition("/")
    agent, _, id = name.partition(".")
    if folder != CANDIDATES or not id.isascii() or not id.isdecimal():
        return None
    try:
        return agent_name(agent), ProposalId(int(id))
    except HiveError as error:
        log.warning("ignoring %s: %s", ref, error)
        return None
