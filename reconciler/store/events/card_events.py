"""Events of a change of a card: an outbox, appended in the transaction that changes the row.

Each event has a key (keys.card). So it is appended once, even if the card is projected several times.
"""

from __future__ import annotations

import sqlite3

from meta.model import DeployKind, TagState
from meta.names import AgentName
from reconciler.store.events import keys, log
from reconciler.views import Card

_KINDS = {
    TagState.PROPOSAL: "proposal_created",
    TagState.APPROVED: "proposal_approved",
    TagState.BUILDING: "deploy_started",
    TagState.DEPLOYED: "deploy_succeeded",
    TagState.FAILED: "deploy_failed",
    TagState.DENIED: "proposal_denied",
}

_WAY = {
    # The states that an id certainly had. One may be denied or fail without those in between.
    TagState.PROPOSAL: (TagState.PROPOSAL,),
    TagState.APPROVED: (TagState.PROPOSAL, TagState.APPROVED),
    TagState.BUILDING: (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING),
    TagState.DEPLOYED: (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING, TagState.DEPLOYED),
    TagState.FAILED: (TagState.PROPOSAL, TagState.APPROVED, TagState.FAILED),
    TagState.DENIED: (TagState.PROPOSAL, TagState.DENIED),
}

_RANK = {TagState.PROPOSAL: 0, TagState.APPROVED: 1, TagState.BUILDING: 2}
_TERMINAL = 3


def reverted(old: Card | None, new: Card | None) -> bool:
    """Return True if the tags are behind the card, or contradict it."""
    if old is None:
        return False
    if new is None:
        return True
    return _rank(new) < _rank(old) or (_rank(new) == _TERMINAL == _rank(old) and new.state != old.state)


def append(
    connection: sqlite3.Connection, at: float, old: Card | None, new: Card | None, by: str | None, sha: str | None
) -> None:
    """Append the events between two cards, including those of states in between.

    `by` is the user that moved the id to its present state. `sha` is its commit, which the card of a spawn does not
    have.
    """
    if old is not None and reverted(old, new):
        _append_reverted(connection, at, old, new)
    if new is None or _is_seed(new):
        return
    late = old is None and TagState(new.state).terminal
    for state in _states(old, new, late):
        data = _data(new, by if state.value == new.state else None)
        if late:
            data["late"] = True
        log.append(connection, at, _KINDS[state], new.agent, data, _key(new, state.value))
        if state is TagState.DEPLOYED and new.kind is DeployKind.SPAWN:
            log.append(connection, at, "agent_spawned", new.agent, {**data, "sha": sha}, _key(new, "spawned"))


def release_agent(connection: sqlite3.Connection, agent: AgentName) -> None:
    """Release the keys of a purged agent. Another agent of that name may have the same ids (its seed has 0)."""
    log.release_all(connection, keys.cards_of(agent))


def _states(old: Card | None, new: Card, late: bool) -> tuple[TagState, ...]:
    state = TagState(new.state)
    if late:  # it ended before hive saw it: only its end is an event, not its history
        return (state,)
    if old is not None and reverted(old, new):
        return (state,) if state.terminal else ()
    known = -1 if old is None else _rank(old)
    return tuple(step for step in _WAY[state] if _RANK.get(step, _TERMINAL) > known)


def _append_reverted(connection: sqlite3.Connection, at: float, old: Card, new: Card | None) -> None:
    for state in TagState:
        if new is None or _RANK.get(state, _TERMINAL) > _rank(new):
            log.release(connection, _key(old, state.value))  # the state may come again, and is then an event again
    if _is_seed(old):
        return
    data: dict[str, object] = {"id": old.id, "from": old.state, "to": new.state if new else None}
    log.append(connection, at, "card_reverted", old.agent, data)


def _data(card: Card, by: str | None) -> dict[str, object]:
    return {
        "id": card.id,
        "kind": card.kind.value,
        "status": card.status,
        "sha": card.fetched_sha,
        "commit_ref": card.commit_ref,
        "source": card.source,
        "note": card.note,
        "description": card.description,
        "by": by,
        "proposed_by": card.proposed_by,
        "approved_by": card.approved_by,
        "requested_at": card.requested_at,
        "resolved_at": card.resolved_at,
    }


def _is_seed(card: Card) -> bool:
    """Return True for `deployed/0` without an approval: it only marks the commit that an agent began with."""
    return card.id == 0 and card.state == TagState.DEPLOYED.value and card.approved_by is None


def _rank(card: Card) -> int:
    return _RANK.get(TagState(card.state), _TERMINAL)


def _key(card: Card, state: str) -> keys.Key:
    return keys.card(card.agent, card.id, state)
