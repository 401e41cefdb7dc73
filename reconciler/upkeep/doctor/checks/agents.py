"""Checks of the agents that failed or need an operator. The daemon reports them; without a daemon their files do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from meta import own_file
from meta.errors import Damaged
from meta.model import RunState
from meta.names import AgentName
from meta.process.identity import ProcessIdentity, alive
from reconciler.plan.phases import GIVEN_UP, PHASES, REMEDIES
from reconciler.store.offline import read_contents
from reconciler.upkeep.doctor.checks import dashboard, declared
from reconciler.upkeep.doctor.checks.base import AgentRow, Finding, Subject, Verdict, ok

WAITING = frozenset({"needs-login", "over-budget"})
"""Phases of agents that are well but wait for an operator."""
_UNDER_WAY = ("deploying ", "waits for its turn to end")
"""Beginnings of conditions that tell how far a deploy or a stop is."""
_OTHER_CHECKS = ("limits ", "the disk of ", "without bubblewrap", "agents are apart by", "the database was damaged")
"""Beginnings of notes that other checks report, or that describe the host permanently."""


async def notes(subject: Subject) -> list[Finding]:
    """Report the notes of `hive status` that no other check reports."""
    if subject.daemon is None:
        return ok("no daemon runs that could be asked")
    notes = [note for note in subject.daemon.notes if not _is_elsewhere(note)]
    return [Finding(Verdict.WARN, note, "see `hive status`") for note in notes] or ok("nothing that other checks miss")


def _is_elsewhere(note: str) -> bool:
    return note.startswith((*_OTHER_CHECKS, *dashboard.ABOUT)) or "system bus" in note or declared.is_about(note)


async def agents(subject: Subject) -> list[Finding]:
    """Report agents that failed or need an operator."""
    if subject.daemon is not None and not subject.daemon.trouble:
        findings = [finding for agent in subject.daemon.agents for finding in _by_status(agent)]
        return findings or ok(f"none of {len(subject.daemon.agents)} needs an operator")
    return await _by_files(subject)


def _by_status(agent: AgentRow) -> list[Finding]:
    conditions = [each for each in agent.conditions if not each.startswith(_UNDER_WAY) and not declared.is_about(each)]
    if agent.phase in GIVEN_UP:
        text = f"{agent.name} is {agent.phase} ({PHASES[agent.phase]})" + "".join(f"; {each}" for each in conditions)
        return [Finding(Verdict.FAIL, text, REMEDIES[agent.phase].format(agent.name))]
    findings = [Finding(Verdict.WARN, f"{agent.name}: {each}", f"see `hive plan {agent.name}`") for each in conditions]
    if agent.phase in WAITING and not any(each.startswith(f"{agent.phase}: ") for each in conditions):
        text = f"{agent.name} is {agent.phase} ({PHASES[agent.phase]})"
        findings.append(Finding(Verdict.WARN, text, f"see `hive logs {agent.name}`"))
    return findings


async def _by_files(subject: Subject) -> list[Finding]:
    """Report agents that failed, and agents that should run and do not. For a hive without a daemon."""
    view = await subject.view()
    if view is None:
        return ok("meta cannot be read: see the check `meta`")
    path, findings = subject.layout.database, []
    contents = await asyncio.to_thread(read_contents, path) if path.is_file() else None
    running = 0
    for agent in sorted(view.desired.agents):
        memo = contents.memos.get(agent, {}) if contents is not None else {}
        crashes = _own_crashes(memo)
        wanted = view.desired.run_of(agent).state is RunState.RUNNING
        if memo.get("rollback_failed"):
            text = f"{agent} is rollback-failed ({PHASES['rollback-failed']})"
            findings.append(Finding(Verdict.FAIL, text, REMEDIES["rollback-failed"].format(agent)))
        elif wanted and crashes >= subject.config.crash_limit:
            text = f"{agent} is failed: it crashed {crashes} times in a row"
            findings.append(Finding(Verdict.FAIL, text, REMEDIES["failed"].format(agent)))
        elif wanted and (why := _down(subject, agent)):
            findings.append(Finding(Verdict.WARN, f"{agent} should run, and {why}", "start the daemon: it starts it"))
        else:
            running += wanted
    return findings or ok(f"{running} should run; only a daemon knows more")


def _own_crashes(memo: Mapping[str, object]) -> int:
    """Return the crashes in a row that are the agent's own fault; 0 if the memo does not say."""
    crashes, excused = memo.get("crashes", 0), memo.get("excused", 0)
    return crashes - excused if isinstance(crashes, int) and isinstance(excused, int) else 0


def _down(subject: Subject, agent: AgentName) -> str:
    """Return why an agent of backend `local` does not run. Return "" if it runs, or if only the daemon can know."""
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
    """Return True if the supervisor that wrote this run.json of backend `local` runs."""
    supervisor, boot = record.get("supervisor"), record.get("boot")
    if not isinstance(supervisor, dict) or not isinstance(boot, str):
        return False
    try:
        return alive(ProcessIdentity(int(supervisor["pid"]), int(supervisor["start"]), boot))
    except (KeyError, TypeError, ValueError):
        return False


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object in a file. Return {} if there is no file, or no object in it."""
    try:
        value = json.loads(own_file.read(path))
    except (OSError, Damaged, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
