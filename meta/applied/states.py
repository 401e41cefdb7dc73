"""The state machine of an id: which state may follow which, and the ref changes of a transition. Pure.

    proposal -> approved | denied
    approved -> building | failed
    building -> deployed | failed

A denied id whose objects are removed has no tag `proposal/<id>` any more: `denied/<id>` has its facts.

The state is the furthest tag `<state>/<id>`. A transition verifies the tag of the old state. It also verifies that no
tag exists which is not on the way to that state: otherwise `approved/7` and `denied/7` could both succeed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from meta.git.transaction import ABSENT, RefChange
from meta.model import TagState
from meta.names import ID_LIMIT, ProposalId, Sha

TAGS = "refs/tags/"
MAIN = "refs/heads/main"
FOLDERS = tuple(f"refs/tags/{state}" for state in TagState)
"""The folders of the tags, one per state."""

TRANSITIONS: Mapping[TagState, frozenset[TagState]] = {
    TagState.PROPOSAL: frozenset({TagState.APPROVED, TagState.DENIED}),
    TagState.APPROVED: frozenset({TagState.BUILDING, TagState.FAILED}),
    TagState.BUILDING: frozenset({TagState.DEPLOYED, TagState.FAILED}),
    TagState.DEPLOYED: frozenset(),
    TagState.FAILED: frozenset(),
    TagState.DENIED: frozenset(),
}

PATHS: Mapping[TagState, tuple[TagState, ...]] = {
    TagState.PROPOSAL: (TagState.PROPOSAL,),
    TagState.APPROVED: (TagState.PROPOSAL, TagState.APPROVED),
    TagState.BUILDING: (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING),
}
"""The tags that an id in each open state may have."""

_FURTHEST = (
    TagState.DEPLOYED,
    TagState.FAILED,
    TagState.DENIED,
    TagState.BUILDING,
    TagState.APPROVED,
    TagState.PROPOSAL,
)
_NAME = re.compile(r"([a-z]+)/(0|[1-9][0-9]{0,17})")
_STATES = {str(state): state for state in TagState}


def tag_name(state: TagState, id: ProposalId) -> str:
    """Return a name like "approved/7"."""
    return f"{state}/{id}"


def tag_ref(state: TagState, id: ProposalId) -> str:
    """Return a ref like "refs/tags/approved/7"."""
    return f"{TAGS}{state}/{id}"


def parse(name: str) -> tuple[TagState, ProposalId] | None:
    """Return state and id of a tag ("approved/7" or "refs/tags/approved/7"); None if it is not a tag of hive."""
    match = _NAME.fullmatch(name.removeprefix(TAGS))
    if match is None or match[1] not in _STATES or int(match[2]) >= ID_LIMIT:
        return None
    return _STATES[match[1]], ProposalId(int(match[2]))


def furthest(states: Collection[TagState]) -> TagState:
    """Return the state of an id that has these tags (at least one)."""
    return next(state for state in _FURTHEST if state in states)


def begin(id: ProposalId, tag: Sha) -> list[RefChange]:
    """Return the changes that create `proposal/<id>` if the id has no tag."""
    rivals = [RefChange(tag_ref(state, id), old=ABSENT) for state in TagState if state is not TagState.PROPOSAL]
    return [*rivals, RefChange(tag_ref(TagState.PROPOSAL, id), new=tag, old=ABSENT)]


def advance(
    id: ProposalId, tags: Mapping[TagState, Sha], to: TagState, tag: Sha, *, drop: bool = False
) -> list[RefChange] | None:
    """Return the changes that bring `id`, which has `tags`, to the state `to`; None if the table does not allow it.

    `tags` maps each present state to the object its tag points at; `tag` is the new tag's object. With `drop` the tag
    of the old state is deleted.
    """
    state = furthest(tags.keys())
    if to not in TRANSITIONS[state]:
        return None
    checks = [RefChange(tag_ref(state, id), new=ABSENT if drop else None, old=tags[state])]
    for other in TagState:
        if other not in PATHS[state] and other is not to:
            checks.append(RefChange(tag_ref(other, id), old=ABSENT))
    return [*checks, RefChange(tag_ref(to, id), new=tag, old=ABSENT)]
