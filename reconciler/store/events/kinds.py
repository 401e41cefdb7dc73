"""Every kind of event that hive appends, each in one line. docs/reference/events.md has a heading per kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EVENT_KINDS: Mapping[str, str] = MappingProxyType(
    {
        # ids, written together with their card
        "proposal_created": "A proposal was pinned as proposal/<id> and waits for the operator.",
        "proposal_approved": "An id was approved.",
        "proposal_denied": "An id was denied, or superseded by a newer one.",
        "tip_refused": "The commit that a branch points at was refused: it is not a proposal.",
        "work_tree_behind": "A deploy that the manager did not commit left its work tree behind, as it is in use.",
        "proposals_stale": "A deploy made other proposals of the agent stale; `hive rebase` replays them.",
        "deploy_started": "An approved id is being built.",
        "deploy_succeeded": "An id is deployed: the agent runs it, meta names it.",
        "deploy_failed": "An id failed; the agent keeps what it ran before.",
        "card_reverted": "The card was ahead of the tags; it shows again what the tags are.",
        # the life of an agent
        "agent_spawned": "An agent was spawned: the commit that it begins with is deployed.",
        "agent_started": "A container was started.",
        "agent_stopped": "A container was stopped on purpose.",
        "agent_restarted": "A container was restarted on purpose.",
        "agent_rebuilt": "Everything that hive makes for an agent on the host was made again.",
        "agent_rebuild_failed": "A requested rebuild failed; it is retried.",
        "agent_needs_update": "An agent was built with another hive, nixpkgs or agentModules; a rebuild uses this one.",
        "agent_destroyed": "An agent was destroyed; its repos, tags and state are kept.",
        "agent_purged": "The repos and the state of a destroyed agent were removed.",
        "agent_adopted": "The operator decided a disagreement between meta and the tags.",
        "run_changed": "The desired state of an agent changed: whether it runs, or its number of restarts.",
        # turns
        "agent_paused": "The operator paused an agent: it takes no turn until it is resumed.",
        "agent_resumed": "The operator resumed an agent that was paused.",
        "turn_cancelled": "The operator ended a turn; the agent goes on with its next message.",
        "session_compacted": "The operator had an agent's conversation compacted.",
        "session_begun": "The operator had an agent begin a new conversation.",
        "model_set": "The operator set the model of an agent, or returned to the one that was approved.",
        # health
        "agent_healthy": "An agent passed its health gate.",
        "agent_unhealthy": "An agent did not pass its health gate.",
        "agent_cli_missing": "An agent's coding agent is missing, too old or does not start; only a person can help.",
        "agent_needs_login": "An agent's coding agent has no login; only a person can log in.",
        "agent_logged_in": "An agent that had no login has one now.",
        "login_requested": "An operator began a login of an agent's coding agent, or ended its login.",
        "agent_over_budget": "An agent used up its budget of the day; it takes no turn until the next one.",
        "agent_within_budget": "An agent whose budget was used up may take turns again.",
        "agent_over_disk": "An agent's files exceed its disk limit or cannot be counted on a full disk: it is stopped.",
        "agent_disagrees": "A deployed id names a meta commit that is not in main; the agent is held as it is.",
        "container_crash": "A container ended by itself.",
        "turn_stuck": "A turn took longer than its limit; hive ended it, or stopped the agent for that.",
        "turn_killed": "An agent was stopped in the middle of a turn.",
        "rollback_started": "A deploy failed after the switch; the agent goes back to what it ran before.",
        "rollback_succeeded": "After a failed deploy the agent runs healthily what it ran before.",
        "rollback_failed": "After a failed deploy the old generation is not healthy either; an operator is needed.",
        # the way out
        "network_refused": "An agent wanted a host that it may not reach.",
        "network_requested": "An agent asked the operator for a host.",
        "network_allowed": "The operator allowed an agent a host for a time.",
        "network_covered": "A request for a host was answered: the agent's configuration allows it.",
        "network_denied": "The operator denied an agent a host that it had asked for.",
        "network_revoked": "The operator took back what had been allowed for a time.",
        "network_ended": "The time for which an agent was allowed a host is over.",
        "way_out_restarted": "hive-egress had ended, and the daemon started it again.",
        # who gets in
        "passkey_added": "An operator added a passkey.",
        "passkey_removed": "An operator removed a passkey.",
        "passkey_refused": "The counter of a passkey went back, as if it was copied; the touch was refused.",
        # messages
        "operator_message": "An agent wrote to the operator.",
        "question_asked": "A question was asked, of an agent or of the operator.",
        "question_answered": "A question was answered, has expired, or was cancelled.",
        "broadcast_missed": "A message to all did not reach those whose inboxes were full.",
        "message_dead": "A message had its last attempt without an ack; it is a dead letter now.",
        # the dashboard
        "dashboard_login": "A browser was logged in to the dashboard.",
        "dashboard_logout": "A browser was logged out of the dashboard by its own user.",
        "dashboard_session_revoked": "A session of the dashboard was ended by an operator, or as its user is none now.",
        "dashboard_login_refused": "A login to the dashboard was refused.",
        # the daemon
        "daemon_started": "The daemon began to reconcile.",
        "agents_declared": "The host's configuration declared agents: this daemon has not read it before.",
        "rebuild_all_started": "Agents began to be rebuilt, wave by wave.",
        "rebuild_all_ended": "All agents of a rebuild run again, or one failed and the others were not rebuilt.",
        "hive_down": "All agents were stopped so that the whole hive can end; the next daemon starts them again.",
        "daemon_stopped": "The daemon stopped as requested.",
        "daemon_failed": "A background task of the daemon ended, and the daemon with it.",
        "database_rebuilt": "The database was damaged or missing; cards were rebuilt from the tags, the rest is lost.",
        "disk_full": "The disk of the state directory is full; hive goes on with what it reserved.",
        "disk_freed": "The disk that was full has room again.",
        "leftovers_removed": "Half-made files that a killed daemon left were removed.",
        "stale_lock_removed": "A lock that a killed git left in a repo was removed.",
        "agents_migrated": "Agents of an older hive were migrated at the start of the daemon.",
        "process_ended": "A process left over by an earlier daemon was ended.",
        "repaired": "Something that was missing or changed by hand was repaired.",
        "reconcile_error": "A step of an agent failed; it is retried with back-off.",
    }
)
