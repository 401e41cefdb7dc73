"""Read the tag objects of an applied repo as deploys. Pure.

A tag that a person made by hand counts for the state of its id, like a tag by hive: a lightweight `approved/7`, or a
copy of another tag. Its author is `unknown`.

A denial removes the objects of a proposal, and its tag with them. Then `denied/<id>` points at a commit that stays, the
one that the proposal was based on, and has the facts of `proposal/<id>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from meta.applied.states import furthest, tag_name
from meta.approval import from_trailers
from meta.consent import how_of
from meta.git.message import Message, decode
from meta.git.objects import GitObject, decode_commit, decode_tag
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.text import TEXT_LIMIT, scrub

UNKNOWN = "unknown"

ID, AGENT, KIND, BASE = "Hive-Id", "Hive-Agent", "Hive-Kind", "Hive-Base"
COMMIT_REF, SOURCE, BY = "Hive-Commit-Ref", "Hive-Source", "Hive-By"
REBASED = "Hive-Rebased-From"
"""On a proposal that hive made by replaying the commits of another one: the id of that."""
DECLARED = "Hive-Declared"
"""On a proposal from the host's configuration: the digest of what that declared."""
SEEN = "Hive-Seen"
"""On an approval: the commit that the card showed."""
META, UNPROVEN = "Hive-Meta", "Hive-Unproven"
COMMIT, PROPOSAL = "Hive-Commit", "Hive-Proposal"
"""On a denial that took the place of `proposal/<id>`: the proposed commit, and the tag's object."""
PROPOSED_BY, PROPOSED_AT, REASON_LINES = "Hive-Proposed-By", "Hive-Proposed-At", "Hive-Reason-Lines"
"""There as well. The description follows the lines of the reason and an empty one."""

_KEPT = (KIND, BASE, COMMIT_REF, SOURCE, REBASED, DECLARED)
_REASON_LIMIT = TEXT_LIMIT // 2
_SHA = re.compile("[0-9a-f]{40}")
_NUMBER = re.compile("[0-9]{1,18}")

_KINDS = {str(kind): kind for kind in DeployKind}


@dataclass(frozen=True, slots=True)
class ReadTag:
    """One tag of an id. `object` is what the ref points at, `sha` the commit behind it.

    `proposal`: the proposal whose place this tag took. Then `sha` is the proposed commit, which is no longer kept.
    """

    object: Sha
    sha: Sha
    at: int
    message: Message
    proposal: ReadTag | None = None

    @property
    def by(self) -> str:
        """Return who wrote the tag."""
        return self.get(BY) or UNKNOWN

    def get(self, trailer: str) -> str | None:
        """Return a trailer; None if it is missing or empty."""
        return self.message.trailers.get(trailer) or None


def read_tag(
    state: TagState, id: ProposalId, name: Sha, objects: Mapping[Sha, GitObject], *, trusted: bool = True
) -> ReadTag | None:
    """Return the tag whose ref points at the object `name`; None if there is no commit behind it.

    `objects` holds the object and, for a tag of a tag, those behind it. Raise KeyError if one is missing. Without
    `trusted` the trailers are dropped: hive did not write them.
    """
    read = _read(state, id, name, objects)
    if read is not None and not trusted:
        return replace(read, message=Message(read.message.subject, read.message.text))
    return _with_proposal(read) if read is not None and state is TagState.DENIED else read


def _read(state: TagState, id: ProposalId, name: Sha, objects: Mapping[Sha, GitObject]) -> ReadTag | None:
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


def replacing(proposal: ReadTag, reason: str) -> tuple[str, dict[str, str]]:
    """Return text and trailers of a denial that takes the place of the tag `proposal`."""
    text = scrub(reason, _REASON_LIMIT)
    lines = len(text.split("\n"))
    if description := scrub(proposal.message.text, TEXT_LIMIT - len(text) - 2):
        text = f"{text}\n\n{description}"
    return text, {
        COMMIT: proposal.sha,
        PROPOSAL: proposal.object,
        PROPOSED_BY: proposal.by,
        PROPOSED_AT: str(proposal.at),
        REASON_LINES: str(lines),
        **{key: proposal.get(key) or "" for key in _KEPT},
    }


def _with_proposal(denied: ReadTag) -> ReadTag:
    """Part the facts of the proposal from those of the denial, if its tag took the place of the proposal's."""
    commit, name = denied.get(COMMIT) or "", denied.get(PROPOSAL) or ""
    at, lines = denied.get(PROPOSED_AT) or "", denied.get(REASON_LINES) or ""
    if not (_SHA.fullmatch(commit) and _SHA.fullmatch(name) and _NUMBER.fullmatch(at) and _NUMBER.fullmatch(lines)):
        return denied
    text, subject = denied.message.text.split("\n"), denied.message.subject
    own = denied.message.trailers
    facts = {key: own[key] for key in _KEPT if key in own} | {BY: own.get(PROPOSED_BY, "")}
    proposal = ReadTag(Sha(name), Sha(commit), int(at), Message("", "\n".join(text[int(lines) + 1 :]), facts))
    reason = Message(subject, "\n".join(text[: int(lines)]), own)
    return replace(denied, sha=Sha(commit), message=reason, proposal=proposal)


def deploy(agent: AgentName, id: ProposalId, tags: Mapping[TagState, ReadTag]) -> Deploy:
    """Return the deploy that the tags of one id describe. Its commit is the proposed one, not that of a later tag."""
    state = furthest(tags.keys())
    last = tags[state]
    first = tags.get(TagState.PROPOSAL) or last.proposal or last
    approval = tags.get(TagState.APPROVED)
    decided = last if state.terminal else approval
    base, rebased = first.get(BASE), first.get(REBASED) or ""
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
        kept=last.proposal is None,
        rebased_from=ProposalId(int(rebased)) if _NUMBER.fullmatch(rebased) else None,
        declared=first.get(DECLARED) or "",
        consent=how_of(approval.message.trailers) if approval else "",
    )
