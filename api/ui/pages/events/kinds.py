"""Which kinds of events are bad news, and which ones a filter shows."""

from __future__ import annotations


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


BAD = _kinds(
    "agent_over_disk agent_rebuild_failed agent_unhealthy container_crash daemon_failed deploy_failed disk_full "
    "message_dead passkey_refused reconcile_error rollback_failed turn_stuck"
)
"""Kinds of events that something went wrong by."""
WARN = _kinds(
    "agent_disagrees agent_needs_login agent_over_budget card_reverted dashboard_login_refused network_refused "
    "rollback_started tip_refused"
)
"""Kinds of events that a person may want to look at."""
GROUPS = (
    ("", "Everything"),
    ("decisions", "Decisions"),
    ("deploys", "Deploys"),
    ("agents", "Agents"),
    ("network", "Network"),
    ("logins", "Logins"),
    ("hive", "hive itself"),
)
"""The filters by kind, each with its words."""
KINDS = {
    "decisions": _kinds(
        "agent_adopted agent_paused agent_resumed hive_down model_set network_allowed network_denied "
        "network_revoked proposal_approved proposal_denied question_answered rebuild_all_started run_changed "
        "turn_cancelled"
    ),
    "deploys": _kinds(
        "card_reverted deploy_failed deploy_started deploy_succeeded proposal_approved proposal_created "
        "proposal_denied proposals_stale rollback_failed rollback_started rollback_succeeded tip_refused"
    ),
    "agents": _kinds(
        "agent_destroyed agent_disagrees agent_healthy agent_logged_in agent_needs_login agent_over_budget "
        "agent_over_disk agent_purged agent_rebuild_failed agent_rebuilt agent_restarted agent_spawned "
        "agent_started agent_stopped agent_unhealthy agent_within_budget container_crash turn_killed turn_stuck"
    ),
    "network": _kinds(
        "network_allowed network_covered network_denied network_ended network_refused network_requested "
        "network_revoked way_out_restarted"
    ),
    "logins": _kinds(
        "dashboard_login dashboard_login_refused dashboard_logout dashboard_session_revoked passkey_added "
        "passkey_refused passkey_removed"
    ),
    "hive": _kinds(
        "agents_declared agents_migrated daemon_failed daemon_started daemon_stopped database_rebuilt disk_freed "
        "disk_full hive_down leftovers_removed process_ended rebuild_all_ended rebuild_all_started reconcile_error "
        "repaired stale_lock_removed"
    ),
}
"""The kinds of events of each filter."""
