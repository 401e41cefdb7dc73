"""Every touch of a passkey that stands behind an approval, checked again from the tag alone. Pure.

The tag has the signature and all that it was made over: nothing is asked of the daemon, a browser or the network. The
passkeys that are known tell whether this one belonged to the approver at that time, and for which site it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meta.applied import tags
from meta.applied.tags import ReadTag
from meta.approval import from_trailers
from meta.consent import Assertion, How, assertion_of, how_of
from meta.errors import Refused
from meta.model import TagState
from meta.names import AgentName
from reconciler.common.touch import RelyingParty, Touch, check_touch
from reconciler.upkeep.audit.passkeys import Known
from reconciler.upkeep.audit.rules import FAULT, WARNING, Finding, Tags

RULE = "touch"
_LATE, _EARLY = 3_600, 300
"""Seconds by which the tag may be later than the touch (its preview was made), or earlier (the clock was set)."""


def touch_findings(tags_by_id: Mapping[AgentName, Tags], known: Known | None) -> Iterator[Finding]:
    """Check the touch of each approval that has one. `known` None: there is no database to look passkeys up."""
    for agent, ids in sorted(tags_by_id.items()):
        for id, states in sorted(ids.items()):
            approval = states.get(TagState.APPROVED)
            if approval is None:
                continue
            try:
                assertion = assertion_of(approval.message.trailers)
            except ValueError as error:
                yield Finding(FAULT, RULE, agent, id, f"approved/{id}: {error}")
                continue
            if assertion is None:
                if how_of(approval.message.trailers) == How.PASSKEY:
                    yield Finding(FAULT, RULE, agent, id, f"approved/{id} names a touch of a passkey and has none")
                continue
            if fault := _other_card(agent, id, approval, assertion) or _signature(assertion):
                yield Finding(FAULT, RULE, agent, id, f"the touch of approved/{id} {fault}")
            elif problem := _owner(assertion, known):
                level, text = problem
                yield Finding(level, RULE, agent, id, f"the touch of approved/{id} {text}")


def _other_card(agent: AgentName, id: int, approval: ReadTag, assertion: Assertion) -> str:
    """Return what the touch was for, if it is not what the tag approves; "" if it is."""
    card, trailers = assertion.card, approval.message.trailers
    if (card.action, card.agent, card.id) != ("approve", agent, id):
        return f"was to {card.action} {card.id} of {card.agent}"
    if card.commit != approval.sha:
        return f"was for commit {card.commit[:12]}, not {approval.sha[:12]}"
    bound = from_trailers(trailers)
    if (shown := "" if bound is None else bound.fingerprint()) != card.shown:
        return f"was for the preview {card.shown or 'none'}, not {shown or 'none'}"
    if assertion.by != approval.get(tags.BY):
        return f"is of {assertion.by}, the approval of {approval.by}"
    if how_of(trailers) != How.PASSKEY or not -_EARLY <= approval.at - assertion.at <= _LATE:
        return "does not belong to this tag"
    return ""


def _signature(assertion: Assertion) -> str:
    """Return why the signature is not one over the card; "" if it is."""
    if len(assertion.nonce) != 32:
        return "has a nonce of another length"
    touch = Touch(assertion.credential, assertion.authenticator_data, assertion.client_data, assertion.signature)
    try:
        check_touch(touch, assertion.key, assertion.challenge, RelyingParty(assertion.origin, assertion.rp))
    except Refused as error:
        return f"does not hold: {error.summary}"
    return ""


def _owner(assertion: Assertion, known: Known | None) -> tuple[str, str] | None:
    """Return why the passkey was not one of the approver then, with the level of the finding; None if it was."""
    id = Touch(assertion.credential, b"", b"", b"").id
    if known is None or known.uuid != assertion.card.hive:
        return WARNING, "was made with another database, so that nothing tells whose passkey it was"
    row = known.passkeys.get(id)
    if row is None:
        return FAULT, f"is of the passkey {id[:20]}, which was never added"
    if row.key != assertion.key or row.owner != assertion.by:
        return FAULT, f"is of another passkey than {id[:20]} of {row.owner}"
    if assertion.at < row.added_at:
        return FAULT, f"is older than its passkey {id[:20]}"
    if row.removed_at is not None and assertion.at > row.removed_at:
        return FAULT, f"is of the passkey {id[:20]}, which had been removed"
    if (rp := known.rps.get(id, assertion.rp)) != assertion.rp:
        return FAULT, f"was made for {assertion.rp}, and its passkey {id[:20]} is of {rp}"
    if known.origins and assertion.origin not in known.origins:
        return (
            WARNING,
            f"was asked for by {assertion.origin}, where no passkey was added",
        )
    return None
