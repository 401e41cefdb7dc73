"""Read the tags of an applied repo: again only what changed, and strictly.

The trailers of tags that an older hive's repo had are not read: another user may have written them.
"""

from __future__ import annotations

from collections.abc import Mapping

from meta.applied import older, tags
from meta.applied.states import FOLDERS, MAIN, parse, tag_ref
from meta.applied.tags import ReadTag
from meta.errors import Damaged
from meta.git.objects import GitObject, decode_tag
from meta.git.repo import GitRepo
from meta.model import Deploy, TagState
from meta.names import AgentName, ProposalId, Sha

_TYPE_AT = len("object ") + 40 + 1
"""Where the type of what a tag points at begins, as git and hive write tags."""

Tags = Mapping[ProposalId, Mapping[TagState, ReadTag]]


class TagReader:
    """The tags of one agent. `by_id` and `deploys` are those of the last `read`."""

    def __init__(self, repo: GitRepo, agent: AgentName) -> None:
        self._repo = repo
        self._agent = agent
        self._refs: dict[str, Sha] = {}
        self.by_id: Tags = {}
        self.deploys: tuple[Deploy, ...] = ()

    async def read(self) -> tuple[Deploy, ...]:
        """Return every id that has a tag, sorted. While no tag changes, the same tuple is returned.

        Raise Damaged for a tag that cannot be read. Start no process while the tags are loose objects.
        """
        refs = self._repo.refs(FOLDERS)
        if not refs and self._repo.ref(MAIN) is not None:
            raise Damaged(self._repo.path / "refs/tags", "it has no tags, but the agent was deployed")
        if refs != self._refs:
            before, known = self.by_id, {deploy.id: deploy for deploy in self.deploys}
            by_id = await self._read_tags(refs)
            self.deploys = tuple(
                known[id] if id in known and before.get(id) == states else tags.deploy(self._agent, id, states)
                for id, states in sorted(by_id.items())
            )
            self.by_id, self._refs = by_id, refs
        return self.deploys

    async def _read_tags(self, refs: Mapping[str, Sha]) -> Tags:
        wanted = {ref: parsed for ref in refs if (parsed := parse(ref)) is not None}
        known = {(id, state): read for id, states in self.by_id.items() for state, read in states.items()}
        fresh = {
            ref: (state, id)
            for ref, (state, id) in wanted.items()
            if (old := known.get((id, state))) is None or old.object != refs[ref]
        }
        objects = await self._objects({refs[ref] for ref in fresh})
        foreign = set(self._repo.refs(older.TAGS).values()) if fresh else set()
        states_by_id: dict[ProposalId, dict[TagState, ReadTag]] = {}
        for ref, (state, id) in wanted.items():
            if ref in fresh:
                read = self._read_one(state, id, refs[ref], objects, trusted=refs[ref] not in foreign)
            else:
                read = known[id, state]
            states_by_id.setdefault(id, {})[state] = read
        return states_by_id

    def _read_one(
        self, state: TagState, id: ProposalId, name: Sha, objects: Mapping[Sha, GitObject], *, trusted: bool
    ) -> ReadTag:
        ref, place = f"{tag_ref(state, id)} of {self._agent}", f"its object {name} in {self._repo.path}"
        try:
            read = tags.read_tag(state, id, name, objects, trusted=trusted)
        except (KeyError, ValueError) as error:
            raise Damaged(ref, f"{place} is missing or no tag") from error
        if read is None:
            raise Damaged(ref, f"{place} is neither tag nor commit")
        return read

    async def _objects(self, names: set[Sha]) -> dict[Sha, GitObject]:
        """Return the objects with these ids, and the objects behind tags of tags."""
        objects: dict[Sha, GitObject] = {}
        for _ in range(5):
            missing = names - objects.keys()
            if not missing:
                break
            stored = await self._repo.objects(missing)
            objects.update(stored)
            names = set()
            for item in stored.values():
                target = _tagged(item)
                if target is not None:
                    names.add(target)
        return objects


def _tagged(item: GitObject) -> Sha | None:
    """Return the object behind a tag if that object is not a commit."""
    if item.kind != "tag" or item.data.startswith(b"type commit\n", _TYPE_AT):
        return None
    try:
        tagged = decode_tag(item.data)
    except ValueError:
        return None
    return tagged.target if tagged.kind != "commit" else None
