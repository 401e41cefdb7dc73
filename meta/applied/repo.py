"""The applied repo of one agent: its tags are the log of each id, `main` is the newest deployed commit.

Only hive writes here. Every transition is one ref transaction (meta/applied/states.py). Reading starts no process while
the tags are loose objects, as hive writes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, suppress

from meta.applied import older, tags
from meta.applied.kept import Kept
from meta.applied.pinning import Pinning
from meta.applied.source import Source, SourceKind
from meta.applied.states import FOLDERS, MAIN, advance, begin, furthest, tag_name, tag_ref
from meta.applied.tag_reader import TagReader
from meta.applied.tags import ReadTag
from meta.approval import Binding
from meta.consent import Consent
from meta.errors import Conflict, Damaged, HiveError, NotFound, PermanentError, Refused, TransientError
from meta.git import packs
from meta.git.diff import CONTEXT, TreeDiff
from meta.git.message import encode
from meta.git.objects import FILE, GitObject, TreeEntry, blob, commit, decode_tree, snapshot, tag, tree
from meta.git.packs import StagedPack
from meta.git.ref_stamp import RefStamp
from meta.git.repo import FileAt, GitRepo
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.process.failpoint import operation
from meta.text import one_line

__all__ = ["Applied", "FileAt"]

log = logging.getLogger(__name__)

SEED = "refs/hive/seed"
EMPTY_TREE = Sha("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
"""The tree without files. git knows it even if it is not stored."""

SEED_ID = ProposalId(0)


class Applied:
    """One applied repo. `git_environment` marks the git processes. `deadline` limits each git command, in seconds."""

    def __init__(
        self,
        layout: Layout,
        agent: AgentName,
        *,
        git_environment: Mapping[str, str] | None = None,
        deadline: float = 30,
    ) -> None:
        self.agent = agent
        self._folder = layout.applied(agent)
        self.repo = GitRepo(layout.applied_git(agent), git_environment, deadline)
        self.kept = Kept(self.repo, layout)
        self._stamp = RefStamp(self.repo.path, (*FOLDERS, "refs/heads"))
        self._tags = TagReader(self.repo, agent)

    # reading
    def stamp(self) -> str | None:
        """Return a text that changes whenever a tag or `main` does; None if there is no repo. Start no process."""
        try:
            return self._stamp.read()
        except Damaged:
            older.require_current(self._folder)
            raise

    async def seed(self) -> Sha | None:
        """Return the seed commit."""
        return self.repo.ref(SEED)

    async def main(self) -> Sha | None:
        """Return the newest deployed commit."""
        return self.repo.ref(MAIN)

    async def deploys(self) -> tuple[Deploy, ...]:
        """Return every id that has a tag, sorted. While no tag changes, the same tuple is returned.

        Raise Damaged for a tag that cannot be read, and for a repo of an older hive.
        """
        older.require_current(self._folder)
        return await self._tags.read()

    def older_ids(self) -> frozenset[ProposalId]:
        """Return the ids that the agent had in an older hive. Their commits cannot be built here. Start no process."""
        return older.ids(self.repo.refs(older.TAGS))

    async def deployed_tags(self, most: int) -> dict[str, Sha]:
        """Return the tags of the deployed ids, as refs with their objects: at most `most`, those of the newest ids."""
        tags: dict[str, Sha] = {}
        deployed = [deploy.id for deploy in await self.deploys() if deploy.state is TagState.DEPLOYED]
        for id in reversed(deployed):
            states = self._tags.by_id.get(id, {})
            if len(tags) + len(states) > most:
                break
            tags |= {tag_ref(state, id): read.object for state, read in states.items()}
        return tags

    async def is_ancestor(self, ancestor: Sha, of: Sha) -> bool:
        """Return True if `of` is `ancestor` or descends from it."""
        return await self.repo.is_ancestor(ancestor, of)

    async def resolve(self, commit_id: str) -> Sha:
        """Return the full id of a commit given by 7 to 40 digits. Raise NotFound if no commit matches, or several."""
        return await self.repo.resolve(commit_id)

    def reading(self) -> AbstractContextManager[None]:
        """Keep the objects of ended proposals from being removed inside the block."""
        return packs.reading(self.repo.path)

    async def has(self, sha: Sha) -> bool:
        """Return True if the commit is in this repo."""
        return await self.repo.has(sha)

    async def diff(self, before: Sha | None, after: Sha, path: str | None = None, context: int = CONTEXT) -> TreeDiff:
        """Return the changed files, or only `path`, and their patch. `before` None is the empty tree."""
        return await self.repo.diff(before or EMPTY_TREE, after, path, context)

    async def cut(self, before: Sha | None, after: Sha) -> str | None:
        """Return why `diff` does not show every file as a whole; None if it does."""
        return await self.repo.cut(before or EMPTY_TREE, after)

    async def log(self, before: Sha | None, after: Sha, limit: int = 100) -> tuple[str, ...]:
        """Return the scrubbed subjects of the commits that `after` adds to `before`, newest first."""
        subjects = await self.repo.subjects(after, before, limit)
        return await asyncio.to_thread(lambda: tuple(one_line(subject, 200) for subject in subjects))

    async def files(self, sha: Sha) -> Mapping[str, FileAt]:
        """Return every file of a commit by path."""
        return await self.repo.files(sha)

    async def read(self, sha: Sha, path: str) -> bytes:
        """Return one file of a commit. Raise NotFound if the commit does not have it."""
        return await self.repo.read(sha, path)

    # writing
    async def create(self, files: Mapping[str, bytes], at: int) -> Sha:
        """Create the repo with `files` as its seed commit, kept at refs/hive/seed; return that commit.

        `main` does not move. If the repo has a seed commit already, return that. Safe to repeat after a kill. Raise
        Damaged if there is a repo of an older hive.
        """
        older.require_current(self._folder)
        await self.repo.init((*FOLDERS, "refs/heads", "refs/hive"))
        operation("repo")
        seed = self.repo.ref(SEED)
        if seed is not None:
            return seed
        root, objects = snapshot(files)
        seed_commit = commit(root, (), encode(f"seed of {self.agent}"), at)
        await self.repo.transaction([RefChange(SEED, new=seed_commit.id, old=ABSENT)], [*objects, seed_commit])
        return seed_commit.id

    async def edit(self, base: Sha, path: str, data: bytes, message: str, at: int) -> tuple[Sha, StagedPack]:
        """Make a commit on `base` with `data` as `path`, a file of the top folder. Return it and its staged pack."""
        root = (await self.repo.commit(base)).tree
        top = (await self.repo.objects([root])).get(root)
        if top is None:
            raise NotFound(f"{base[:12]} of {self.agent} has no tree", "`hive doctor` checks the repo")
        name, content = path.encode(), blob(data)
        kept = [entry for entry in decode_tree(top.data) if entry.name != name]
        new_root = tree([*kept, TreeEntry(FILE, name, content.id)])
        subject, _, rest = message.strip().partition("\n")
        change = commit(new_root.id, (base,), encode(subject, rest), at)
        return change.id, await self.repo.stage([content, new_root, change])

    async def replace(
        self, base: Sha, old: Collection[str], new: Mapping[str, bytes], message: str, at: int
    ) -> tuple[Sha, StagedPack]:
        """Make a commit on `base` with the files `new` in place of the files `old`. Return it and its staged pack.

        Top folders that `old` or `new` name are replaced as a whole; all else stays as it is.
        """
        root = (await self.repo.commit(base)).tree
        top = (await self.repo.objects([root])).get(root)
        if top is None:
            raise NotFound(f"{base[:12]} of {self.agent} has no tree", "`hive doctor` checks the repo")
        gone = {path.partition("/")[0].encode() for path in (*old, *new)}
        _, objects = snapshot(new)
        entries = [entry for entry in decode_tree(top.data) if entry.name not in gone]
        new_root = tree([*entries, *decode_tree(objects.pop().data)])
        subject, _, rest = message.strip().partition("\n")
        change = commit(new_root.id, (base,), encode(subject, rest), at)
        return change.id, await self.repo.stage([*objects, new_root, change])

    async def restore(self, main: Sha, older: Sha, reason: str, at: int) -> Sha:
        """Write a commit on `main` with the files of `older`, and return it. A rollback deploys it.

        Raise Damaged if the repo lacks one of these files.
        """
        try:
            await self.files(older)
        except (Damaged, Refused):
            raise
        except PermanentError as error:
            raise Damaged(self.repo.path, f"it lacks files of {older[:12]}") from error
        change = commit((await self.repo.commit(older)).tree, (main,), encode(reason), at)
        await self.repo.transaction((), [change])
        return change.id

    async def propose(self, id: ProposalId, pinning: Pinning, at: int, staged: StagedPack | None = None) -> None:
        """P3: pin the commit as `proposal/<id>`. `staged` has its objects, unless the repo has them.

        Raise Conflict if the id has a tag already, NotFound if the repo does not have the commit.
        """
        if staged is not None:
            await asyncio.to_thread(staged.place, id)
            operation("placed")
        elif not await self.has(pinning.sha):
            raise NotFound(f"{self.agent}'s applied repo has no commit {pinning.sha[:12]}", "fetch it first")
        trailers = {
            tags.KIND: str(pinning.kind),
            tags.BASE: pinning.base or "",
            tags.COMMIT_REF: pinning.commit_ref,
            tags.SOURCE: str(pinning.source),
            tags.BY: pinning.by,
            tags.REBASED: str(pinning.rebased) if pinning.rebased is not None else "",
            tags.DECLARED: pinning.declared,
        }
        tag_object = self._tag(TagState.PROPOSAL, id, pinning.sha, at, pinning.description, trailers)
        try:
            await self.repo.transaction(begin(id, tag_object.id), [tag_object])
        except HiveError as error:
            if staged is not None:
                with suppress(HiveError):  # the next start removes them
                    await self.kept.remove(id, frozenset())
            if isinstance(error, Conflict):
                raise Conflict(f"there is a proposal {id} of {self.agent} already", "take a new id") from error
            raise

    async def transition(
        self,
        id: ProposalId,
        to: TagState,
        *,
        by: str,
        reason: str = "",
        at: int,
        seen: Sha | None = None,
        shown: Binding | None = None,
        consent: Consent | None = None,
    ) -> None:
        """Bring an id to the state `to` (for `deployed` there is `deployed()`). Of concurrent transitions one succeeds.

        A denial removes the objects that the proposal brought, and its tag: `denied/<id>` then has the facts.
        `shown` is what an approval is bound to, `consent` how it was given. Raise NotFound for an unknown id. Raise
        Conflict, which names the present state, if the table does not allow the transition or if `seen` is not the
        proposed commit.
        """
        if to is TagState.DEPLOYED:
            raise ValueError("deployed/ is written together with main: use deployed()")
        present, deploy = await self._present(id)
        if seen is not None and seen != deploy.sha:
            raise Conflict(f"{id} is commit {deploy.sha[:12]}, not {seen[:12]}", f"look again with `hive diff {id}`")
        trailers = {tags.BY: by, tags.SEEN: deploy.sha if to is TagState.APPROVED else ""}
        trailers |= shown.trailers() if shown is not None else {}
        trailers |= consent.trailers() if consent is not None else {}
        proposal = present.get(TagState.PROPOSAL)
        target = await self._stays(id, deploy) if to is TagState.DENIED and proposal is not None else None
        if target is None or proposal is None:
            await self._move(id, present, to, [], [self._tag(to, id, deploy.sha, at, reason, trailers)])
            return
        text, facts = tags.replacing(proposal, reason)
        await self._move(id, present, to, [], [self._tag(to, id, target, at, text, trailers | facts)], drop=True)
        operation("tagged")
        await self.remove_ended()

    async def deployed(self, id: ProposalId, *, by: str, at: int, meta_commit: Sha, unproven: bool, seed: bool) -> None:
        """A9: write `deployed/<id>` and `main` after `meta_commit`, the commit on meta `main`.

        `main` moves to the deployed commit; a spawn only creates it. With `seed` the seed commit gets `deployed/0`,
        unless id 0 has tags. A second call completes a transaction that a kill interrupted.
        """
        present, deploy = await self._present(id)
        done = deploy.state is TagState.DEPLOYED
        changes: list[RefChange] = []
        objects: list[GitObject] = []
        if not done:
            trailers = {tags.BY: by, tags.META: meta_commit, tags.UNPROVEN: "yes" if unproven else "no"}
            objects.append(self._tag(TagState.DEPLOYED, id, deploy.sha, at, "", trailers))
        if (seed or deploy.kind is DeployKind.SPAWN) and SEED_ID not in self._tags.by_id:
            start = self.repo.ref(SEED) or deploy.sha
            zero = {tags.KIND: str(DeployKind.SPAWN), tags.SOURCE: str(Source.of(SourceKind.SEED)), tags.BY: by}
            first = self._tag(TagState.DEPLOYED, SEED_ID, start, at, "", zero)
            changes.append(RefChange(tag_ref(TagState.DEPLOYED, SEED_ID), new=first.id, old=ABSENT))
            objects.append(first)
        changes += await self._forward(deploy, done)
        if done:
            await self.repo.transaction(changes, objects)
        else:
            await self._move(id, present, TagState.DEPLOYED, changes, objects)

    async def _forward(self, deploy: Deploy, done: bool) -> list[RefChange]:
        main = self.repo.ref(MAIN)
        if main == deploy.sha:
            return []
        if main is None:
            return [RefChange(MAIN, new=deploy.sha, old=ABSENT)]
        if deploy.kind is DeployKind.SPAWN:
            return []
        moved = done or deploy.kind is DeployKind.ROLLBACK  # an older hive went back to the older commit itself
        if moved and not await self.is_ancestor(main, deploy.sha):
            return []
        return [RefChange(MAIN, new=deploy.sha, old=main)]

    async def remove_ended(self, *, untagged: bool = False) -> tuple[ProposalId, ...]:
        """Remove the objects of each denied id that its tag no longer keeps. Return these ids; never raise HiveError.

        What is being read, or cannot be removed now, stays until the next call. With `untagged` also remove those of
        ids without a tag; only while nothing is proposed.
        """
        if not self.kept.ids():
            return ()
        try:
            await self.deploys()
            return await self.kept.remove_ended(self._tags.by_id, untagged=untagged)
        except HiveError as error:
            log.warning("%s: objects of ended proposals stay for now: %s", self.agent, error.summary)
            return ()

    async def merge_packs(self) -> int:
        """Merge the packs of deployed and failed ids, if there are many. Return how many packs are gone.

        Raise Damaged if a tag cannot be read: its id may still need a pack of its own.
        """
        ended = (TagState.DEPLOYED, TagState.FAILED)
        return await self.kept.merge({deploy.id for deploy in await self.deploys() if deploy.state in ended})

    # helpers
    async def _stays(self, id: ProposalId, deploy: Deploy) -> Sha | None:
        """Return a commit that stays if the objects of `id` go: its base. Return None if they are not apart."""
        if id not in self.kept.ids():
            return None
        if deploy.base is not None and await self.has(deploy.base):
            return deploy.base
        return self.repo.ref(MAIN) or self.repo.ref(SEED)

    def _tag(
        self, state: TagState, id: ProposalId, sha: Sha, at: int, text: str, trailers: Mapping[str, str]
    ) -> GitObject:
        values = {tags.ID: str(id), tags.AGENT: self.agent, **{key: value for key, value in trailers.items() if value}}
        return tag(tag_name(state, id), sha, encode(f"{state} {id}", text, values), at)

    async def _present(self, id: ProposalId) -> tuple[Mapping[TagState, ReadTag], Deploy]:
        await self.deploys()
        present = self._tags.by_id.get(id)
        if not present:
            raise NotFound(f"{self.agent} has no proposal {id}", "see `hive pending --all`")
        return present, tags.deploy(self.agent, id, present)

    async def _move(
        self,
        id: ProposalId,
        present: Mapping[TagState, ReadTag],
        to: TagState,
        also: Iterable[RefChange],
        objects: list[GitObject],
        *,
        drop: bool = False,
    ) -> None:
        """Write the tag objects[0] as the new state of `id`, with the changes in `also`, in one transaction.

        With `drop` delete the tag of the old state.
        """
        state = furthest(present.keys())
        changes = advance(id, {state: read.object for state, read in present.items()}, to, objects[0].id, drop=drop)
        if changes is None:
            raise _rejection(id, state, to)
        try:
            await self.repo.transaction([*changes, *also], objects)
        except (Conflict, TransientError) as error:
            now, _ = await self._present(id)
            if furthest(now.keys()) is state:
                raise
            log.info("%s of %s changed meanwhile, retrying: %s", id, self.agent, error)
            await self._move(id, now, to, also, objects, drop=drop)  # this ends, because states only move forward


def _rejection(id: ProposalId, state: TagState, to: TagState) -> HiveError:
    """Return the error for a transition of `id` from `state` to `to`, which the table does not allow."""
    if state.terminal or state is to:
        return Conflict(f"{id} is already {state}", "nothing was changed")
    word = "still pending" if state is TagState.PROPOSAL else str(state)
    hint = {
        TagState.PROPOSAL: f"approve it (`hive approve {id}`) or deny it (`hive deny {id}`)",
        TagState.APPROVED: f"it can be cancelled (`hive cancel {id}`)",
        TagState.BUILDING: f"it can be cancelled (`hive cancel {id}`)",
    }[state]
    return Conflict(f"{id} is {word}, it cannot become {to}", hint)
