"""Helper events for the manager: a pure mapping from hive's events, and their outbox in the event's transaction.

The key of a helper event contains the number of its event, so the manager gets it once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from meta.applied.source import Source, SourceKind
from meta.names import MANAGER
from meta.wire.common import ApprovalStatus
from meta.wire.events import (
    ApprovalResolved,
    ContainerCrash,
    Destroyed,
    HelperEvent,
    Killed,
    LoggedIn,
    NeedsLogin,
    NeedsUpdate,
    Rebuilt,
    Spawned,
)
from reconciler.store.events import keys
from reconciler.store.notices import notify

Data = Mapping[str, object]
_ENDS = {
    # kind of event -> how the approval ended, folder of the id's last tag
    "deploy_succeeded": (ApprovalStatus.APPROVED, "deployed"),
    "deploy_failed": (ApprovalStatus.FAILED, "failed"),
    "proposal_denied": (ApprovalStatus.DENIED, "denied"),
}
_SUB_AGENTS = {
    "agent_destroyed": Destroyed,
    "agent_needs_login": NeedsLogin,
    "agent_logged_in": LoggedIn,
}


def helper_events(kind: str, agent: str | None, data: Data) -> tuple[HelperEvent, ...]:
    """Return the helper events of one event, in the order in which the manager gets them. Pure.

    Of its own events the manager gets five kinds: the end of an approval, the end of a rebuild, a crash (a stuck turn
    is one), being outdated, and a work tree that stays behind what was deployed.
    """
    if agent is None or data.get("late"):
        return ()
    if kind in _ENDS:
        return _ended(kind, agent, data)
    if kind == "agent_rebuilt":
        return (Rebuilt(agent=agent, ok=True),)
    if kind == "work_tree_behind":
        note = f"your work tree stays behind: {_text(data, 'reason')}; {_text(data, 'remedy')}"
        return (Rebuilt(agent=agent, ok=True, note=note, sha=_text(data, "main")),)
    if kind == "agent_rebuild_failed":
        return (Rebuilt(agent=agent, ok=False, note=_text(data, "error")),)
    if kind == "container_crash":
        return (ContainerCrash(agent=agent, note=_text(data, "why")),)
    if kind == "turn_stuck" and data.get("stops"):
        return (ContainerCrash(agent=agent, note="its turn took longer than its limit, so hive started it again"),)
    if kind == "agent_needs_update":
        return (NeedsUpdate(agent=agent),)
    if agent == MANAGER:
        return ()
    if kind == "agent_spawned":
        return (Spawned(agent=agent, ok=True, sha=_text(data, "sha")),)
    if kind == "agent_stopped" and data.get("transient") == "stopping":
        return (Killed(agent=agent),)
    return (_SUB_AGENTS[kind](agent=agent),) if kind in _SUB_AGENTS else ()


def notify_manager(connection: sqlite3.Connection, n: int, at: float, kind: str, agent: str | None, data: Data) -> None:
    """Put the helper events of event `n` into the manager's inbox, if there is a manager."""
    events = helper_events(kind, agent, data)
    if not events or not _has_manager(connection):
        return
    for event in events:
        notify(connection, MANAGER, event, int(at), key=keys.notice(n, event.event))


def _ended(kind: str, agent: str, data: Data) -> tuple[HelperEvent, ...]:
    """Return the helper events of an id that ended: the result, then the end of its approval if it needed one."""
    status, folder = _ENDS[kind]
    id, sha, note = _id(data), _text(data, "sha"), _text(data, "note")
    tag = f"{folder}/{id}"
    resolved = ApprovalResolved(
        id=id, agent=agent, commit_ref=_text(data, "commit_ref") or "", status=status, note=note, sha=sha, tag=tag
    )
    spawn, approval = data.get("kind") == "spawn", _needs_approval(data)
    result: tuple[HelperEvent, ...] = ()
    if kind == "deploy_failed" and spawn and agent != MANAGER:
        result = (Spawned(agent=agent, ok=False, note=note),)
    elif kind != "proposal_denied" and not spawn:
        result = (Rebuilt(agent=agent, ok=kind == "deploy_succeeded", note=note, sha=sha, tag=tag),)
    return (*result, resolved) if approval else result


def _needs_approval(data: Data) -> bool:
    """Return True if the id needed a decision. Rollbacks and spawns by the operator need none."""
    if data.get("kind") == "spawn":
        return _id(data) != 0 and Source.parse(_text(data, "source") or "").kind is not SourceKind.SPAWN
    return data.get("kind") == "apply_commit"


def _has_manager(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM cards WHERE agent = ? AND state = 'deployed' LIMIT 1"
    return connection.execute(query, (MANAGER,)).fetchone() is not None


def _text(data: Data, key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def _id(data: Data) -> int:
    value = data.get("id")
    return value if isinstance(value, int) else 0
