"""Change the description of a pending proposal by writing its tag again."""

from __future__ import annotations

from meta.applied import states, tags
from meta.applied.repo import Applied
from meta.errors import Conflict
from meta.git.message import encode
from meta.git.objects import tag
from meta.git.transaction import RefChange
from meta.model import TagState
from meta.names import ProposalId
from meta.text import scrub


async def describe(applied: Applied, id: ProposalId, text: str) -> bool:
    """Replace the description by `text`. Return False if it is the same, or if the id is no longer pending.

    One transaction verifies the old tag, and that the id has no other tag. So a decided id never changes.
    """
    ref = states.tag_ref(TagState.PROPOSAL, id)
    name = applied.repo.refs(states.FOLDERS).get(ref)
    if name is None:
        return False
    read = tags.read_tag(TagState.PROPOSAL, id, name, await applied.repo.objects({name}))
    if read is None or read.message.text == scrub(text):
        return False
    message = encode(read.message.subject, text, read.message.trailers)
    new = tag(states.tag_name(TagState.PROPOSAL, id), read.sha, message, read.at)
    absent = [change for change in states.begin(id, new.id) if change.ref != ref]
    try:
        await applied.repo.transaction([*absent, RefChange(ref, new=new.id, old=name)], [new])
    except Conflict:
        return False
    return True
