"""Every kind of event that hive may append, each in one line. docs/reference/events.md has a heading per kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EVENT_KINDS: Mapping[str, str] = MappingProxyType(
    {
        # ids, written together with their card
        "proposal_created": "A proposal was pinned as proposal/<id> and waits for the operator.",
        "proposal_approved": "An id was approved.",
        "proposal_denied": "An id was denied, or superseded by a newer one.",
        "tip_refused": "The commit that a branch points at was refused: it is no proposal.",
        "deploy_started": "An approved id is being built.",
        "deploy_succeeded": "An id is deployed: the agent runs it, meta names it.",
        "deploy_failed": "An id failed; the agent keeps what it ran before.",
        "card_reverted": "The card said more than the tags do; it says again what they say.",
        # the life of an agent
        "agent_spawned": "An agent was spawned: the commit that it begins with is deployed.",
        "agent_started": "A container was started.",
        "agent_stopped": "A container was stopped on purpose.",
        "agent_restarted": "A container was restarted on purpose.",
        "agent_rebuilt": "Everything that hive makes for an agent on the host was made again.",
        "agent_rebuild_failed": "A rebuild that was asked for did not work; it is tried again.",
        "agent_needs_update": "What an agent runs was built with another hive; a rebuild would be with this one.",
        "agent_destroyed": "An agent was destroyed; its repos, tags and state are kept.",
        "agent_purged": "What was kept of a destroyed agent was removed.",
        "agent_adopted": "The operator decided a disagreement between meta and the tags.",
        "run_changed": "Whether an agent should run, or how often it should have been restarted, was changed.",
        # health
        "agent_healthy": "An agent passed its health gate.",
        "agent_unhealthy": "An agent did not pass its health gate.",
        "agent_needs_login": "An agent's coding agent has no login; only a person can log in.",
        "agent_logged_in": "An agent that had no login has one now.",
        "agent_disagrees": "A deployed id names a meta commit that is not in main; the agent is held as it is.",
        "container_crash": "A container ended without having been asked to.",
        "turn_killed": "An agent was stopped in the middle of a turn.",
        "rollback_started": "A deploy failed after the switch; the agent goes back to what it ran before.",
        "rollback_succeeded": "After a failed deploy the agent runs healthily what it ran before.",
        "rollback_failed": "After a failed deploy the old generation is not healthy either; a person is needed.",
        # messages
        "operator_message": "An agent wrote to the operator.",
        "question_asked": "A question was asked, of an agent or of the operator.",
        "question_answered": "A question has its answer; or it has expired, or was cancelled.",
        "broadcast_missed": "A message to all did not reach those whose inboxes were full.",
        "message_dead": "A message was handed out five times and never acked; it is a dead letter now.",
        # the daemon
        "daemon_started": "The daemon began to reconcile.",
        "rebuild_all_started": "Agents began to be rebuilt, wave by wave.",
        "rebuild_all_ended": "All agents of a rebuild are up again, or one failed and the others were left.",
        "daemon_stopped": "The daemon ended in good order.",
        "daemon_failed": "A background task of the daemon ended, and the daemon with it.",
        "database_rebuilt": "The database was damaged or gone; cards were rebuilt from the tags, the rest is lost.",
        "leftovers_removed": "Half-made files that a killed daemon left were removed.",
        "process_ended": "A process left over by an earlier daemon was ended.",
        "repaired": "Something that was missing or changed by hand was put right.",
        "reconcile_error": "A step of an agent failed; it is tried again with back-off.",
    }
)
