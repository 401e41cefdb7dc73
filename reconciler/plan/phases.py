"""The words for an agent's phase. Imports nothing, because the command line needs them and has to start quickly."""

from __future__ import annotations

from meta.agent_toml.logins import login_remedy

PHASES: dict[str, str] = {
    "starting": "started, not yet through the health gate",
    "running": "healthy",
    "draining": "finishing its turn before a stop",
    "switching": "between two generations",
    "stopped": "should be stopped, and is",
    "crashed": "ended by itself; not yet taken into account",
    "backing-off": "ended by itself; waits before the next start",
    "needs-login": "healthy, its coding agent has no login",
    "parked": "healthy, waits: for the end of a limit or an outage, or for a person to mend its model or its program",
    "over-budget": "healthy, its budget is used up",
    "paused": "healthy, takes no turn until the operator resumes it",
    "failed": "crashed too often, failed its first start after a deploy, or was not spawned; held until a command",
    "rollback-failed": "a deploy failed and the old generation does not pass the gate either; left alone",
    "disagrees": "meta and the deployed tags contradict each other; held until `hive adopt`",
    "damaged": "a file that hive keeps about it cannot be read or understood; held as it is until that is mended",
    "over-disk": "stopped: its files exceed its disk limit or cannot be counted on a full disk; starts again by itself",
    "destroying": "being removed",
    "unknown": "runs, has not reconnected yet after a restart of the daemon",
    "absent": "no such container, and none desired",
}
"""Every phase and its meaning."""

UP = frozenset({"running", "needs-login", "parked", "over-budget", "paused"})
"""Phases of an agent that runs and has passed the health gate."""

SETTLED = UP | {"stopped"}
"""Phases in which a deploy or a rebuild that succeeded leaves an agent. A stopped agent is not started for it."""

GIVEN_UP = frozenset({"failed", "rollback-failed", "disagrees", "damaged", "over-disk"})
"""Phases of agents that wait for an operator. hive tries nothing more by itself, and a rollout leaves them out."""

REMEDIES: dict[str, str] = {
    "failed": "`hive logs {0}`, then `hive restart {0}` or propose a fix",
    "rollback-failed": "`hive logs {0}`; propose a fix, or `hive restart {0}`",
    "disagrees": "`hive adopt {0} --running` keeps the running commit, `--meta` returns to the one that meta pins",
    "damaged": "`hive doctor` (check `damage`) names the command that mends it",
    "over-disk": "remove files of agents/{0}/ in the state directory, or raise HIVE_AGENT_DISK_MIB; see `hive doctor`",
    "needs-login": login_remedy("", "{0}"),
    "over-budget": "raise its budget with `hive edit {0}`, or wait until it has one again",
    "stopped": "`hive start {0}` starts it",
    "paused": "`hive turn resume {0}` lets it take turns again",
}
"""What an operator does about an agent that hive does not bring up by itself, with {0} for its name."""

WANTED = frozenset({"stopped", "paused"})
"""Phases with a remedy that are as desired: only `hive plan` names the remedy."""
