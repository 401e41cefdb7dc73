"""The check of declared agents: the list can be read, and git and the host's configuration do not wait for a person."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meta.desired import declaration
from meta.names import MANAGER
from reconciler.plan.declared import ABOUT, NOT_FOLLOWED, Standing
from reconciler.upkeep.doctor.checks.base import AgentRow, Finding, Subject, Verdict, ok

NOTE = "background task declared failed"
"""The beginning of the daemon's note that it cannot follow the list as a whole."""
_REMEDIES = {
    Standing.CONFLICT: "`hive pending {0}`: approve to take what is declared, deny to keep what git has",
    Standing.DENIED: "nothing if git is right; else change what is declared",
    Standing.FAILED: "`hive history {0}`; mend what is declared, or `hive retry` it",
    Standing.REMOVED: "`hive destroy {0}` removes it, `hive start {0}` keeps it",
    Standing.BROKEN: declaration.MEND,
}
"""What waits for a person, with the remedy. Where only git moved, all is as decided."""


async def declared(subject: Subject) -> list[Finding]:
    """Check the list of declared agents, and how each one stands to git."""
    if subject.daemon is not None:
        findings = [finding for agent in subject.daemon.agents for finding in _standing(agent)]
        findings += [Finding(Verdict.FAIL, note, _remedy(note)) for note in subject.daemon.notes if is_about(note)]
        many = sum(bool(agent.declared) for agent in subject.daemon.agents)
        return findings or ok(f"{many} agents are declared, none waits for a person")
    if not subject.config.declared:
        return ok("no list is configured here (HIVE_DECLARED)")
    return await _by_file(subject, Path(subject.config.declared))


def is_about(text: str) -> bool:
    """Return True if a condition or a note of `hive status` is reported here."""
    return text.startswith((ABOUT, NOTE))


def _remedy(text: str) -> str:
    """Return the hint that an error ends with; without one it is the host's configuration that is to be mended."""
    return next((hint for hint in declaration.HINTS if hint in text), declaration.MEND)


def _standing(agent: AgentRow) -> list[Finding]:
    remedy = _REMEDIES.get(Standing(agent.declared)) if agent.declared in set(Standing) else None
    if agent.name == MANAGER and agent.declared == Standing.REMOVED:
        remedy = "`hive start {0}`: nobody can destroy it"
    failing = [condition for condition in agent.conditions if condition.startswith(NOT_FOLLOWED)]
    if failing:
        return [Finding(Verdict.FAIL, f"{agent.name}: {'; '.join(failing)}", "as the reason says; hive tries again")]
    if remedy is None:
        return []
    about = "; ".join(condition for condition in agent.conditions if is_about(condition))
    verdict = Verdict.FAIL if agent.declared == Standing.BROKEN else Verdict.WARN
    remedy = _remedy(about) if agent.declared == Standing.BROKEN else remedy.format(agent.name)
    return [Finding(verdict, f"{agent.name}: {about or agent.declared}", remedy)]


async def _by_file(subject: Subject, path: Path) -> list[Finding]:
    """Report what the list itself has wrong. For a hive without a daemon."""
    read = await asyncio.to_thread(declaration.read, path)
    findings = [
        Finding(Verdict.FAIL, f"{name}: {ABOUT} declares what cannot be used: {why}", _remedy(why))
        for name, why in read.broken.items()
    ]
    view = await subject.view()
    absent = sorted(read.names - view.desired.agents.keys()) if view is not None else []
    if absent:
        text = f"{', '.join(absent)}: declared, and not there yet"
        findings.append(Finding(Verdict.WARN, text, "start the daemon: it makes them"))
    return findings or ok(f"{len(read.names)} agents are declared; only a daemon compares them with git")
