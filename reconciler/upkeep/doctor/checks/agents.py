"""The agents themselves: those that need somebody, as the daemon sees them, or as far as it shows without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from meta.model import RunState
from meta.names import AgentName
from meta.process.identity import ProcessIdentity, alive
from reconciler.plan.phases import GIVEN_UP, PHASES
from reconciler.store.offline import read_contents
from reconciler.upkeep.doctor.checks.base import AgentSaid, Finding, Subject, Verdict, ok

WAITING = frozenset({"needs-login", "over-budget"})
"""Phases of agents that are well and do nothing until somebody does something."""
_UNDER_WAY = "deploying "
_REMEDIES = {
    "failed": "`hive logs {0}`, then `hive restart {0}` or propose a fix",
    "rollback-failed": "`hive logs {0}`; propose a fix, or `hive restart {0}`",
    "disagrees": "`hive adopt {0} --running` keeps what runs, `--meta` goes back to what meta says",
}
_TOLD_ELSEWHERE = ("limits ", "without bubblewrap", "agents are apart by", "the database was damaged")
"""How notes begin that other checks say, or that are about the host and stay."""


async def notes(subject: Subject) -> list[Finding]:
    """What `hive status` says of the whole hive, beyond what the other checks find."""
    if subject.daemon is None:
        return ok("no daemon to ask")
    said = [note for note in subject.daemon.notes if not note.startswith(_TOLD_ELSEWHERE) and "system bus" not in note]
    return [Finding(Verdict.WARN, note, "see `hive status`") for note in said] or ok("nothing beyond the rest")


async def agents(subject: Subject) -> list[Finding]:
    """No agent needs somebody."""
    if subject.daemon is not None and not subject.daemon.trouble:
        found = [finding for agent in subject.daemon.agents for finding in _said(agent)]
        return found or ok(f"none of {len(subject.daemon.agents)} needs somebody")
    return await _unasked(subject)


def _said(agent: AgentSaid) -> list[Finding]:
    told = [condition for condition in agent.conditions if not condition.startswith(_UNDER_WAY)]
    if agent.phase in GIVEN_UP:
        text = f"{agent.name} is {agent.phase} ({PHASES[agent.phase]})" + "".join(f"; {each}" for each in told)
        return [Finding(Verdict.FAIL, text, _REMEDIES[agent.phase].format(agent.name))]
    found = [Finding(Verdict.WARN, f"{agent.name}: {each}", f"see `hive plan {agent.name}`") for each in told]
    if agent.phase in WAITING:
        text = f"{agent.name} is {agent.phase} ({PHASES[agent.phase]})"
        found.append(Finding(Verdict.WARN, text, f"see `hive logs {agent.name}`"))
    return found


async def _unasked(subject: Subject) -> list[Finding]:
    """Without a daemon: who was given up, and who should run and does not."""
    view = await subject.view()
    if view is None:
        return ok("meta cannot be read: see there")
    path, found = subject.layout.database, []
    seen = await asyncio.to_thread(read_contents, path) if path.is_file() else None
    running = 0
    for agent in sorted(view.desired.agents):
        memo = seen.memos.get(agent, {}) if seen is not None else {}
        crashes = memo.get("crashes", 0)
        wanted = view.desired.run_of(agent).state is RunState.RUNNING
        if memo.get("rollback_failed"):
            text = f"{agent} is rollback-failed ({PHASES['rollback-failed']})"
            found.append(Finding(Verdict.FAIL, text, _REMEDIES["rollback-failed"].format(agent)))
        elif wanted and isinstance(crashes, int) and crashes >= subject.config.crash_limit:
            text = f"{agent} is failed: it crashed {crashes} times in a row"
            found.append(Finding(Verdict.FAIL, text, _REMEDIES["failed"].format(agent)))
        elif wanted and (why := _down(subject, agent)):
            found.append(Finding(Verdict.WARN, f"{agent} should run, and {why}", "a start of the daemon starts it"))
        else:
            running += wanted
    return found or ok(f"{running} should run; no daemon says more")


def _down(subject: Subject, agent: AgentName) -> str:
    """Why an agent of backend `local` does not run; "" when it does, or where only the daemon can know."""
    place = subject.layout.backend("local") / agent
    if subject.backend != "local" or not place.is_dir():
        return ""
    record, ended = read_json(place / "run.json"), read_json(place / "exit.json")
    if runs(record):
        return ""
    if not record or ended.get("nonce") != record.get("nonce"):
        return "its container does not run"
    signal = ended.get("signal")
    return f"was killed by signal {signal}" if signal is not None else f"exited with code {ended.get('code')}"


def runs(record: dict[str, object]) -> bool:
    """Whether the supervisor that wrote this run.json of backend `local` lives."""
    supervisor, boot = record.get("supervisor"), record.get("boot")
    if not isinstance(supervisor, dict) or not isinstance(boot, str):
        return False
    try:
        return alive(ProcessIdentity(int(supervisor["pid"]), int(supervisor["start"]), boot))
    except (KeyError, TypeError, ValueError):
        return False


def read_json(path: Path) -> dict[str, object]:
    """An object in a file; empty when there is none, or it is no object."""
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
