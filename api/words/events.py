"""Each kind of event as a short sentence for people; `--json` has the event itself.

A missing value leaves its words out, because an older hive may have written the event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.words import texts, times
from api.words.users import is_push, person, with_names
from meta.applied.source import Source
from meta.names import SYSTEM
from meta.text import quoted, size
from reconciler.plan.revisions import difference

Data = dict[str, Any]


def describe(kind: str, event: Data) -> str:
    """Return one event in one line: when, who, what."""
    return f"{times.short_time(event.get('at'))} {event.get('agent') or 'hive'}: {sentence(kind, event)}"


def sentence(kind: str, event: Data) -> str:
    """Return what happened, without when and to whom."""
    data = event.get("data") or {}
    describe_kind = SENTENCES.get(kind)
    return describe_kind(data) if describe_kind is not None else _raw(kind, data)


def _raw(kind: str, data: Data) -> str:
    """Return an unknown kind, from a newer daemon, with its values."""
    words = [f"{key}={_text(data, key)}" for key in data if data[key] not in (None, "", [], {})]
    return f"{kind} ({', '.join(words)})" if words else kind


def _text(data: Data, key: str) -> str:
    value = data.get(key)
    return "" if value is None else texts.first_line(str(value))


def _with(data: Data, before: str, key: str, after: str = "") -> str:
    """Return `before`, the value and `after`; an empty text if there is no value."""
    value = _text(data, key)
    return f"{before}{value}{after}" if value else ""


def _ids(data: Data) -> str:
    ids = data.get("ids")
    return ", ".join(map(str, ids)) if isinstance(ids, list) else ""


def _size(data: Data, key: str) -> str:
    value = data.get(key)
    return size(value) if isinstance(value, int) else ""


def _over_disk(data: Data) -> str:
    inodes, most = data.get("inodes"), data.get("inode_limit")
    if (data.get("bytes") or 0) > (data.get("limit") or 0):
        return f"stopped: its files have {_size(data, 'bytes')}, the limit is {_size(data, 'limit')}"
    if isinstance(inodes, int) and isinstance(most, int) and inodes > most:
        return f"stopped: it has {inodes} files and directories, the limit is {most}"
    return f"stopped: the disk is full, and its files cannot all be counted ({_size(data, 'bytes')} were)"


def _missed(data: Data) -> str:
    names = data.get("missed")
    shown = names[:5] if isinstance(names, list) else []
    more = f" and {_text(data, 'count')} in all" if isinstance(names, list) and len(names) > len(shown) else ""
    return f"{', '.join(map(str, shown))}{more}, whose inboxes are full"


def _proposed(data: Data) -> str:
    by, about = _text(data, "proposed_by"), _with(data, ": ", "description")
    if data.get("kind") == "spawn":
        return f"{_text(data, 'id')} asks for this agent{f', proposed by {with_names(by)}' if by else ''}{about}"
    branch = Source.parse(_text(data, "source")).branch
    to = f" to {branch}" if branch else ""
    if is_push(by):
        author = "" if by == "push" else f" by {person(by)}"
        return f"{_text(data, 'id')} waits for approval, pushed{to}{author}{about}"
    place = f", on {branch}" if to else ""
    return f"{_text(data, 'id')} waits for approval{f', proposed by {with_names(by)}' if by else ''}{place}{about}"


def _denied(data: Data) -> str:
    """Describe a denial. If a newer proposal caused it, `by` is that proposal's author, who decided nothing."""
    id, by, note = _text(data, "id"), _text(data, "by"), _text(data, "note")
    if note.startswith("superseded by "):
        return f"{id} is {note}"
    why = f": {note}" if note not in ("", "denied") else ""
    return f"{id} is denied{f' by {with_names(by)}' if by else ''}{why}"


def _refused(data: Data) -> str:
    by = _text(data, "by")
    author = "" if by in ("", "push") else f" (by {person(by)})"
    commit = _text(data, "sha")[:12]
    why, remedy = _with(data, ": ", "reason"), _with(data, "; ", "remedy")
    return f"{_text(data, 'branch')} at {commit}{author} is no proposal{why}{remedy}"


def _deployed(data: Data) -> str:
    return f"{_text(data, 'id')} is deployed{_with(data, ', at commit ', 'sha')[: len(', at commit ') + 12]}"


def _reverted(data: Data) -> str:
    now = _with(data, "is ", "to") or "has no tags any more"
    return f"the card of {_text(data, 'id')} was {_text(data, 'from')}, by its tags it {now}"


def _started(data: Data) -> str:
    return f"started with generation {_text(data, 'generation')[:10]}{_with(data, ', to try ', 'deploy')}"


def _adopted(data: Data) -> str:
    side = "meta takes over what runs" if data.get("running") else "goes back to what meta pins"
    return f"{side}{with_names(_with(data, ', decided by ', 'by'))} (ids {_ids(data)})"


def _healthy(data: Data) -> str:
    crashes = _text(data, "crashes")
    count = f"{crashes} crash{'' if crashes == '1' else 'es in a row'}"
    return f"healthy, after {count}" if crashes not in ("", "0") else "healthy"


def _crashed(data: Data) -> str:
    wait = data.get("restart_in")
    again = f", starts again in {wait:g} s" if isinstance(wait, (int, float)) else ""
    return f"ended by itself: {_text(data, 'why')} (crash {_text(data, 'crashes')} in a row{again})"


def _stuck(data: Data) -> str:
    age = data.get("seconds")
    time = f" after {age:g} s" if isinstance(age, (int, float)) else ""
    how = "did not end when hive asked, so the agent is started again" if data.get("stops") else "was ended by hive"
    return f"a turn over its limit {how}{time}"


def _count(data: Data, key: str) -> int:
    values = data.get(key)
    return len(values) if isinstance(values, list) else 0


def _unusable(broken: object) -> str:
    names = ", ".join(map(str, broken)) if isinstance(broken, dict) else ""
    return f", and cannot use what it declares of {names}" if names else ""


def _rebuilt_all(data: Data) -> str:
    done = f"rebuilt {_count(data, 'done')} agents"
    if not data.get("failed"):
        return done
    why = f"{_text(data, 'failed')} failed{_with(data, ': ', 'reason')}"
    return f"{done}, stopped because {why}; {_count(data, 'left')} left"


def _until(data: Data) -> str:
    until = data.get("until")
    return f" until {times.short_time(until)}" if isinstance(until, (int, float)) else ""


_ENDS = {
    "stopping": "stopped",
    "restarting": "stopped, to start again",
    "switching": "stopped, to switch to another generation",
    "destroying": "stopped, to be removed",
}

SENTENCES: dict[str, Callable[[Data], str]] = {
    "proposal_created": _proposed,
    "proposal_approved": lambda d: f"{_text(d, 'id')} is approved{with_names(_with(d, ' by ', 'approved_by'))}",
    "proposal_denied": _denied,
    "tip_refused": _refused,
    "work_tree_behind": lambda d: (
        f"the manager's work tree stays behind{_with(d, ': ', 'reason')}{_with(d, '; ', 'remedy')}"
    ),
    "proposals_stale": lambda d: f"stale by the last deploy: {_ids(d)}{_with(d, '; ', 'remedy')}",
    "deploy_started": lambda d: f"{_text(d, 'id')} is being deployed",
    "deploy_succeeded": _deployed,
    "deploy_failed": lambda d: f"{_text(d, 'id')} failed{_with(d, ': ', 'note')}",
    "card_reverted": _reverted,
    "agent_spawned": lambda d: f"spawned{with_names(_with(d, ' by ', 'approved_by'))}",
    "agent_started": _started,
    "agent_stopped": lambda d: _ENDS.get(_text(d, "transient"), "stopped"),
    "agent_restarted": lambda d: "restarted on request",
    "agent_rebuilt": lambda d: f"rebuilt from {_text(d, 'id')}",
    "agent_rebuild_failed": lambda d: f"could not be rebuilt{_with(d, ': ', 'error')}",
    "agent_needs_update": lambda d: difference(_text(d, "built_with"), _text(d, "revision")),
    "agent_destroyed": lambda d: "destroyed; repos, tags and state are kept",
    "agent_purged": lambda d: "purged; nothing is kept",
    "agent_adopted": _adopted,
    "run_changed": lambda d: (
        f"{_text(d, 'asked') or 'start, stop or restart'} requested{with_names(_with(d, ' by ', 'by'))}"
    ),
    "agent_paused": lambda d: f"paused{with_names(_with(d, ' by ', 'by'))}",
    "agent_resumed": lambda d: f"resumed{with_names(_with(d, ' by ', 'by'))}",
    "turn_cancelled": lambda d: f"its turn was ended{with_names(_with(d, ' by ', 'by'))}",
    "session_compacted": lambda d: f"its conversation was compacted{with_names(_with(d, ', asked by ', 'by'))}",
    "session_begun": lambda d: f"begins a new conversation{with_names(_with(d, ', asked by ', 'by'))}",
    "model_set": lambda d: (
        (_with(d, "has the model ", "model") or "has the approved model again")
        + with_names(_with(d, ", set by ", "by"))
    ),
    "agent_healthy": _healthy,
    "agent_unhealthy": lambda d: f"not healthy{_with(d, ': ', 'reason')}",
    "agent_cli_missing": lambda d: f"its coding agent does not start{_with(d, ': ', 'problem')}",
    "agent_needs_login": lambda d: "has no login; only a person can log in",
    "agent_logged_in": lambda d: "is logged in",
    "login_requested": lambda d: f"{_text(d, 'what')} was asked for{_with(d, ' by ', 'by')}",
    "agent_over_budget": lambda d: f"takes no turn: {_text(d, 'reason')}",
    "agent_within_budget": lambda d: "may take turns again, within its budget",
    "agent_over_disk": _over_disk,
    "agent_disagrees": lambda d: f"held: its tags {_ids(d)} and meta disagree, see `hive plan`",
    "container_crash": _crashed,
    "turn_stuck": _stuck,
    "turn_killed": lambda d: f"stopped in the middle of a turn{_with(d, ' (', 'turn', ')')}",
    "rollback_started": lambda d: f"goes back from {_text(d, 'id')}{_with(d, ': ', 'reason')}",
    "rollback_succeeded": lambda d: f"runs healthily again what it ran before {_text(d, 'from')}",
    "rollback_failed": lambda d: f"not healthy after going back from {_text(d, 'from')}{_with(d, ': ', 'reason')}",
    "network_refused": lambda d: f"wanted {_text(d, 'host')}:{_text(d, 'port')}, which it may not reach",
    "network_requested": lambda d: (
        f"asks for {_text(d, 'rule')} (request {_text(d, 'id')})"
        f"{f', it says: {quoted(why)}' if (why := _text(d, 'why')) else ''}"
    ),
    "network_allowed": lambda d: (
        f"may reach {_text(d, 'rule')}{_until(d)}{with_names(_with(d, ', allowed by ', 'by'))}"
    ),
    "network_covered": lambda d: (
        f"may reach {_text(d, 'rule')} by its configuration, which answers request {_text(d, 'id')}"
    ),
    "network_denied": lambda d: (
        f"is denied {_text(d, 'rule')} (request {_text(d, 'id')})"
        f"{with_names(_with(d, ' by ', 'by'))}{_with(d, ': ', 'reason')}"
    ),
    "network_revoked": lambda d: (
        f"may not reach {_text(d, 'rule')} any more{with_names(_with(d, ', decided by ', 'by'))}"
    ),
    "network_ended": lambda d: f"may not reach {_text(d, 'rule')} any more: its time is over",
    "way_out_restarted": lambda d: f"hive-egress was started again{_with(d, ': ', 'reason')}",
    "passkey_added": lambda d: f"{with_names(_text(d, 'owner'))} added the passkey {_text(d, 'name')}",
    "passkey_removed": lambda d: with_names(
        f"the passkey {_text(d, 'name')} of {_text(d, 'owner')} is removed{_with(d, ' by ', 'by')}"
    ),
    "passkey_refused": lambda d: (
        f"a touch of the passkey {_text(d, 'name')} of {with_names(_text(d, 'owner'))} was refused: it may be a copy"
    ),
    "operator_message": lambda d: f"wrote to the operator, message {_text(d, 'id')}",
    "question_asked": lambda d: f"question {_text(d, 'id')} to {_text(d, 'target')}",
    "question_answered": lambda d: (
        f"question {_text(d, 'id')} ended without an answer"
        if d.get("by") == SYSTEM
        else f"question {_text(d, 'id')} is answered{with_names(_with(d, ' by ', 'by'))}"
    ),
    "broadcast_missed": lambda d: f"message {_text(d, 'id')} to all missed {_missed(d)}",
    "message_dead": lambda d: (
        f"message {_text(d, 'id')}{_with(d, ' from ', 'from')} is a dead letter: "
        f"{_text(d, 'reason') if d.get('reason') else 'it was never acknowledged'}"
    ),
    "dashboard_login": lambda d: (
        f"{with_names(_text(d, 'by'))} logged in to the dashboard by {_text(d, 'how')}, session {_text(d, 'session')}"
    ),
    "dashboard_logout": lambda d: f"{with_names(_text(d, 'of'))} logged out, session {_text(d, 'session')}",
    "dashboard_session_revoked": lambda d: (
        f"session {_text(d, 'session')} of {with_names(_text(d, 'of'))} was ended"
        f"{with_names(_with(d, ' by ', 'by'))}{_with(d, ': ', 'why')}"
    ),
    "dashboard_login_refused": lambda d: (
        f"a login to the dashboard was refused{_with(d, ', from ', 'address')}{_with(d, ': ', 'why')}"
        f"{_with(d, ' (', 'count', ' since the last report)') if d.get('count') != 1 else ''}"
    ),
    "daemon_started": lambda d: f"the daemon started{_with(d, ', revision ', 'revision')}",
    "agents_declared": lambda d: (
        f"{_text(d, 'by') or 'the host'} declares {_count(d, 'agents')} agents{_unusable(d.get('unusable'))}"
    ),
    "rebuild_all_started": lambda d: (
        f"rebuilds {_count(d, 'agents')} agents{with_names(_with(d, ', asked by ', 'by'))}"
    ),
    "rebuild_all_ended": _rebuilt_all,
    "hive_down": lambda d: f"all agents are stopped, the hive goes down{with_names(_with(d, ', asked by ', 'by'))}",
    "daemon_stopped": lambda d: f"the daemon stopped{'' if d.get('down') else '; agents keep running'}",
    "daemon_failed": lambda d: f"the daemon stopped, its task {_text(d, 'task')} ended: {_text(d, 'error')}",
    "disk_full": lambda d: f"the disk is full{_with(d, ', most of it is held by ', 'biggest')}, see `hive status`",
    "disk_freed": lambda d: "the disk has room again",
    "database_rebuilt": lambda d: f"the database was created again{_with(d, ', the old one is ', 'set_aside')}",
    "leftovers_removed": lambda d: f"removed {_text(d, 'count')} half-made things that an earlier daemon left",
    "agents_migrated": lambda d: f"migrated {_text(d, 'count')} agents of an older hive, see `hive doctor --all`",
    "process_ended": lambda d: f"ended what an earlier daemon left running: {_text(d, 'what')}",
    "stale_lock_removed": lambda d: f"removed {_text(d, 'count')} locks of a killed git in {_text(d, 'repo')}",
    "repaired": lambda d: f"repaired ({_text(d, 'step')}): {_text(d, 'what')}",
    "reconcile_error": lambda d: f"{_text(d, 'step')} failed and is tried again: {_text(d, 'error')}",
}
"""The sentence for each kind of event; it follows the agent's name."""
