"""Another description for a proposal that still waits: its tag is written again, everything else in it as it was."""

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
    """Put `text` in place of the description; False when it says so already, or when the id waits no more.

    One transaction that verifies the old tag and every rival absent, so that nothing that is decided changes.
    """
    ref = states.tag_ref(TagState.PROPOSAL, id)
    name = applied.repo.refs(states.FOLDERS).get(ref)
    if name is None:
        return False
    read = tags.read_tag(TagState.PROPOSAL, id, name, await applied.repo.objects({name}))
    if read is None or read.message.text == scrub(text):
        return False
    said = encode(read.message.subject, text, read.message.trailers)
    made = tag(states.tag_name(TagState.PROPOSAL, id), read.sha, said, read.at)
    absent = [change for change in states.begin(id, made.id) if change.ref != ref]
    try:
        await applied.repo.transaction([*absent, RefChange(ref, new=made.id, old=name)], [made])
    except Conflict:
        return False
    return True
