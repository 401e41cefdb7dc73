"""The applied repo of one agent: its tags are the log of each id, `main` is the newest deployed commit.

Only hive writes here. Every change of a state is one ref transaction (meta/applied/states.py); reading starts no
process as long as the tags are stored the way hive stores them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from meta.applied import tags
from meta.applied.pinning import Pinning
from meta.applied.source import Source, SourceKind
from meta.applied.states import FOLDERS, MAIN, advance, begin, furthest, parse, tag_name, tag_ref
from meta.applied.tags import ReadTag
from meta.approval import Shown
from meta.errors import Conflict, HiveError, NotFound, TransientError
from meta.git.diff import TreeDiff
from meta.git.files import RefStamp
from meta.git.message import encode, one_line
from meta.git.objects import (
    ABSENT,
    FILE,
    GitObject,
    RefChange,
    TreeEntry,
    blob,
    commit,
    decode_tag,
    decode_tree,
    snapshot,
    tag,
    tree,
)
from meta.git.repo import FileAt, GitRepo
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

__all__ = ["Applied", "FileAt"]

log = logging.getLogger(__name__)

SEED = "refs/hive/seed"
EMPTY_TREE = Sha("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
"""The tree without files; git knows it even where nobody stored it."""

SEED_ID = ProposalId(0)
_Tags = dict[ProposalId, dict[TagState, ReadTag]]


class Applied:
    """One applied repo. `git_environment` marks the processes, `deadline` bounds each git command (seconds)."""

    def __init__(
        self,
        layout: Layout,
        agent: AgentName,
        *,
        git_environment: Mapping[str, str] | None = None,
        deadline: float = 30,
    ) -> None:
        self.agent = agent
        self.repo = GitRepo(layout.applied_git(agent), git_environment, deadline)
        self._stamp = RefStamp(self.repo.path, (*FOLDERS, "refs/heads"))
        self._refs: dict[str, Sha] = {}
        self._read: _Tags = {}
        self._deploys: tuple[Deploy, ...] = ()

    # reading
    def stamp(self) -> str | None:
        """Changes whenever a tag or `main` does, whoever moved it; None when there is no repo. No process."""
        return self._stamp.read()

    async def seed(self) -> Sha | None:
        """The seed commit."""
        return self.repo.ref(SEED)

    async def main(self) -> Sha | None:
        """The newest deployed commit."""
        return self.repo.ref(MAIN)

    async def deploys(self) -> tuple[Deploy, ...]:
        """Every id that has a tag, sorted. The same tuple again while no tag changed."""
        refs = self.repo.refs(FOLDERS)
        if refs != self._refs:
            self._read = await self._read_tags(refs)
            found = sorted(self._read.items())
            self._deploys = tuple(tags.deploy(self.agent, id, states) for id, states in found)
            self._refs = refs
        return self._deploys

    async def is_ancestor(self, ancestor: Sha, of: Sha) -> bool:
        """Whether `of` descends from `ancestor` (or is it)."""
        return await self.repo.is_ancestor(ancestor, of)

    async def resolve(self, commit_id: str) -> Sha:
        """The full id of a commit given by 7 to 40 digits; NotFound when there is none, or more than one."""
        return await self.repo.resolve(commit_id)

    async def has(self, sha: Sha) -> bool:
        """Whether the commit is in this repo."""
        return await self.repo.has(sha)

    async def diff(self, before: Sha | None, after: Sha) -> TreeDiff:
        """Return the changed files and the patch from `before` (None: from nothing)."""
        return await self.repo.diff(before or EMPTY_TREE, after)

    async def log(self, before: Sha | None, after: Sha, limit: int = 100) -> tuple[str, ...]:
        """Subjects of the commits that `after` adds to `before`, newest first, scrubbed."""
        return tuple(one_line(subject, 200) for subject in await self.repo.subjects(after, before, limit))

    async def files(self, sha: Sha) -> Mapping[str, FileAt]:
        """Every file of a commit, by path."""
        return await self.repo.files(sha)

    async def read(self, sha: Sha, path: str) -> bytes:
        """One file of a commit; NotFound when it has none."""
        return await self.repo.read(sha, path)

    # writing
    async def create(self, files: Mapping[str, bytes], at: int) -> Sha:
        """Make the repo with `files` as its seed commit, kept at refs/hive/seed; `main` is not touched.

        Made already: the seed commit that is there. Safe to repeat after a kill.
        """
        await self.repo.init((*FOLDERS, "refs/heads", "refs/hive"))
        seed = self.repo.ref(SEED)
        if seed is not None:
            return seed
        root, objects = snapshot(files)
        made = commit(root, (), encode(f"seed of {self.agent}"), at)
        await self.repo.transaction([RefChange(SEED, new=made.id, old=ABSENT)], [*objects, made])
        return made.id

    async def edit(self, base: Sha, path: str, data: bytes, message: str, at: int) -> Sha:
        """A commit on top of `base` with `path`, a file of the top folder, as `data`. No ref points at it yet."""
        root = (await self.repo.commit(base)).tree
        found = (await self.repo.objects([root])).get(root)
        if found is None:
            raise NotFound(f"{base[:12]} of {self.agent} has no tree", "`hive doctor` checks the repo")
        name, content = path.encode(), blob(data)
        kept = [entry for entry in decode_tree(found.data) if entry.name != name]
        made = tree([*kept, TreeEntry(FILE, name, content.id)])
        subject, _, rest = message.strip().partition("\n")
        change = commit(made.id, (base,), encode(subject, rest), at)
        await self.repo.transaction([], [content, made, change])
        return change.id

    async def propose(self, id: ProposalId, pinning: Pinning, at: int) -> None:
        """P3: pin the commit as `proposal/<id>`. Conflict when the id has a tag, NotFound without the commit."""
        if not await self.has(pinning.sha):
            raise NotFound(f"{self.agent}'s applied repo has no commit {pinning.sha[:12]}", "fetch it first")
        trailers = {
            tags.KIND: str(pinning.kind),
            tags.BASE: pinning.base or "",
            tags.COMMIT_REF: pinning.commit_ref,
            tags.SOURCE: str(pinning.source),
            tags.BY: pinning.by,
        }
        made = self._tag(TagState.PROPOSAL, id, pinning.sha, at, pinning.description, trailers)
        try:
            await self.repo.transaction(begin(id, made.id), [made])
        except Conflict as error:
            raise Conflict(f"there is a proposal {id} of {self.agent} already", "take a new id") from error

    async def transition(
        self,
        id: ProposalId,
        to: TagState,
        *,
        by: str,
        reason: str = "",
        at: int,
        seen: Sha | None = None,
        shown: Shown | None = None,
    ) -> None:
        """Bring an id to the state `to` (for `deployed` there is `deployed()`). Of several racers one wins.

        NotFound for an unknown id; Conflict, which names the present state, when the table does not allow it or
        when `seen` is another commit than the proposed one. `shown` is what an approval is bound to.
        """
        if to is TagState.DEPLOYED:
            raise ValueError("deployed/ is written together with main: use deployed()")
        present, deploy = await self._present(id)
        if seen is not None and seen != deploy.sha:
            raise Conflict(f"{id} is commit {deploy.sha[:12]}, not {seen[:12]}", f"look again with `hive diff {id}`")
        said = {tags.BY: by, tags.SEEN: deploy.sha if to is TagState.APPROVED else ""}
        said |= shown.trailers() if shown is not None else {}
        made = self._tag(to, id, deploy.sha, at, reason, said)
        await self._move(id, present, to, [], [made])

    async def deployed(self, id: ProposalId, *, by: str, at: int, meta_commit: Sha, unproven: bool, seed: bool) -> None:
        """A9: `deployed/<id>` and `main`, after the commit on meta `main`, which `meta_commit` names.

        `main` goes to the deployed commit; a rollback leaves it, a spawn only makes it where there is none. With
        `seed` the seed commit gets `deployed/0`, unless id 0 has a history of its own. Repeated, it completes what
        a kill cut short between two refs.
        """
        present, deploy = await self._present(id)
        done = deploy.state is TagState.DEPLOYED
        changes: list[RefChange] = []
        made: list[GitObject] = []
        if not done:
            trailers = {tags.BY: by, tags.META: meta_commit, tags.UNPROVEN: "yes" if unproven else "no"}
            made.append(self._tag(TagState.DEPLOYED, id, deploy.sha, at, "", trailers))
        if (seed or deploy.kind is DeployKind.SPAWN) and SEED_ID not in self._read:
            start = self.repo.ref(SEED) or deploy.sha
            zero = {tags.KIND: str(DeployKind.SPAWN), tags.SOURCE: str(Source.of(SourceKind.SEED)), tags.BY: by}
            first = self._tag(TagState.DEPLOYED, SEED_ID, start, at, "", zero)
            changes.append(RefChange(tag_ref(TagState.DEPLOYED, SEED_ID), new=first.id, old=ABSENT))
            made.append(first)
        changes += await self._forward(deploy, done)
        if done:
            await self.repo.transaction(changes, made)
        else:
            await self._move(id, present, TagState.DEPLOYED, changes, made)

    async def _forward(self, deploy: Deploy, done: bool) -> list[RefChange]:
        main = self.repo.ref(MAIN)
        if deploy.kind is DeployKind.ROLLBACK or main == deploy.sha:
            return []
        if main is None:
            return [RefChange(MAIN, new=deploy.sha, old=ABSENT)]
        if deploy.kind is DeployKind.SPAWN or (done and not await self.is_ancestor(main, deploy.sha)):
            return []
        return [RefChange(MAIN, new=deploy.sha, old=main)]

    # helpers
    def _tag(
        self, state: TagState, id: ProposalId, sha: Sha, at: int, text: str, trailers: Mapping[str, str]
    ) -> GitObject:
        said = {tags.ID: str(id), tags.AGENT: self.agent, **{key: value for key, value in trailers.items() if value}}
        return tag(tag_name(state, id), sha, encode(f"{state} {id}", text, said), at)

    async def _present(self, id: ProposalId) -> tuple[dict[TagState, ReadTag], Deploy]:
        await self.deploys()
        present = self._read.get(id)
        if not present:
            raise NotFound(f"{self.agent} has no proposal {id}", "see `hive pending`")
        return present, tags.deploy(self.agent, id, present)

    async def _move(
        self,
        id: ProposalId,
        present: Mapping[TagState, ReadTag],
        to: TagState,
        also: Iterable[RefChange],
        objects: list[GitObject],
    ) -> None:
        """One transaction: the tag objects[0] as the new state of `id`, and the changes in `also`."""
        state = furthest(present.keys())
        changes = advance(id, {state: read.object for state, read in present.items()}, to, objects[0].id)
        if changes is None:
            raise _refusal(id, state, to)
        try:
            await self.repo.transaction([*changes, *also], objects)
        except (Conflict, TransientError) as error:
            now, _ = await self._present(id)
            if furthest(now.keys()) is state:
                raise
            log.info("%s of %s moved meanwhile, trying again: %s", id, self.agent, error)
            await self._move(id, now, to, also, objects)  # ends: states only move forward

    async def _read_tags(self, refs: Mapping[str, Sha]) -> _Tags:
        wanted = {ref: parsed for ref in refs if (parsed := parse(ref)) is not None}
        known = {(id, state): read for id, states in self._read.items() for state, read in states.items()}
        fresh = {
            ref: (state, id)
            for ref, (state, id) in wanted.items()
            if (old := known.get((id, state))) is None or old.object != refs[ref]
        }
        objects = await self._objects({refs[ref] for ref in fresh})
        found: _Tags = {}
        for ref, (state, id) in wanted.items():
            read = known[id, state] if ref not in fresh else self._read_one(ref, refs[ref], objects)
            if read is not None:
                found.setdefault(id, {})[state] = read
        return found

    def _read_one(self, ref: str, name: Sha, objects: Mapping[Sha, GitObject]) -> ReadTag | None:
        parsed = parse(ref)
        try:
            read = tags.read_tag(*parsed, name, objects) if parsed is not None else None
        except (KeyError, ValueError) as error:
            log.warning(
                "%s of %s is passed over: its object %s is damaged or missing (%s)", ref, self.agent, name, error
            )
            return None
        if read is None:
            log.warning("%s of %s is passed over: there is no commit behind it", ref, self.agent)
        return read

    async def _objects(self, names: set[Sha]) -> dict[Sha, GitObject]:
        """These objects, and what tags of tags point at."""
        found: dict[Sha, GitObject] = {}
        for _ in range(5):
            missing = names - found.keys()
            if not missing:
                break
            got = await self.repo.objects(missing)
            found.update(got)
            names = set()
            for item in got.values():
                target = _tagged(item)
                if target is not None:
                    names.add(target)
        return found


def _tagged(item: GitObject) -> Sha | None:
    """The object behind a tag, where that is no commit."""
    if item.kind != "tag":
        return None
    try:
        tagged = decode_tag(item.data)
    except ValueError:
        return None
    return tagged.target if tagged.kind != "commit" else None


def _refusal(id: ProposalId, state: TagState, to: TagState) -> HiveError:
    """Why `id` cannot go from `state` to `to`."""
    if state.terminal or state is to:
        return Conflict(f"{id} is already {state}", "nothing was changed")
    word = "still pending" if state is TagState.PROPOSAL else str(state)
    hint = {
        TagState.PROPOSAL: f"approve it (`hive approve {id}`) or deny it (`hive deny {id}`)",
        TagState.APPROVED: f"it can be cancelled (`hive cancel {id}`)",
        TagState.BUILDING: f"it can be cancelled (`hive cancel {id}`)",
    }[state]
    return Conflict(f"{id} is {word}, it cannot become {to}", hint)
