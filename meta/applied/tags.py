"""Read the tag objects of an applied repo as deploys. Pure.

A tag that a person made by hand counts for the state of its id, like a tag by hive: a lightweight `approved/7`, or a
copy of another tag. Its author is `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meta.applied.states import furthest, tag_name
from meta.approval import from_trailers
from meta.git.message import Message, decode
from meta.git.objects import GitObject, decode_commit, decode_tag
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

UNKNOWN = "unknown"

ID, AGENT, KIND, BASE = "Hive-Id", "Hive-Agent", "Hive-Kind", "Hive-Base"
COMMIT_REF, SOURCE, BY = "Hive-Commit-Ref", "Hive-Source", "Hive-By"
SEEN = "Hive-Seen"
"""On an approval: the commit that the card showed."""
META, UNPROVEN = "Hive-Meta", "Hive-Unproven"

_KINDS = {str(kind): kind for kind in DeployKind}


@dataclass(frozen=True, slots=True)
class ReadTag:
    """One tag of an id. `object` is what the ref points at, `sha` the commit behind it."""

    object: Sha
    sha: Sha
    at: int
    message: Message

    @property
    def by(self) -> str:
        """Return who wrote the tag."""
        return self.get(BY) or UNKNOWN

    def get(self, trailer: str) -> str | None:
        """Return a trailer; None if it is missing or empty."""
        return self.message.trailers.get(trailer) or None


def read_tag(state: TagState, id: ProposalId, name: Sha, objects: Mapping[Sha, GitObject]) -> ReadTag | None:
    """Return the tag whose ref points at the object `name`; None if there is no commit behind it.

    `objects` holds the object and, for a tag of a tag, those behind it. Raise KeyError if one is missing.
    """
    item = objects[name]
    own: Message | None = None
    at = 0
    for _ in range(5):
        if item.kind == "commit":
            commit = decode_commit(item.id, item.data)
            return ReadTag(name, commit.sha, at or commit.at, own or Message(""))
        if item.kind != "tag":
            return None
        tag = decode_tag(item.data)
        if tag.name == tag_name(state, id) and own is None:
            own, at = decode(tag.message), tag.at
        if tag.kind == "commit":
            return ReadTag(name, tag.target, at or tag.at, own or Message(""))
        item = objects[tag.target]
    return None


def deploy(agent: AgentName, id: ProposalId, tags: Mapping[TagState, ReadTag]) -> Deploy:
    """Return the deploy that the tags of one id describe. Its commit is the proposed one, not that of a later tag."""
    state = furthest(tags.keys())
    last = tags[state]
    first = tags.get(TagState.PROPOSAL, last)
    approval = tags.get(TagState.APPROVED)
    decided = last if state.terminal else approval
    base = first.get(BASE)
    return Deploy(
        agent=agent,
        id=id,
        kind=_KINDS.get(first.get(KIND) or "", DeployKind.APPLY_COMMIT),
        state=state,
        sha=first.sha,
        base=Sha(base) if base else None,
        commit_ref=first.get(COMMIT_REF) or "",
        source=first.get(SOURCE) or "",
        description=first.message.text,
        requested_at=first.at,
        proposed_by=first.by,
        approved_by=approval.by if approval else None,
        resolved_at=decided.at if decided else None,
        by=last.by,
        reason=(last.message.text or None) if last is not first else None,
        meta_commit=Sha(meta) if (meta := last.get(META)) else None,
        unproven=last.get(UNPROVEN) == "yes",
        shown=from_trailers(approval.message.trailers) if approval else None,
    )
