"""Check of the generations of builder `plain`: their files are those that were built."""

from __future__ import annotations

import asyncio

from meta.names import AgentName
from reconciler.common.generation import whole_content
from reconciler.upkeep.doctor.checks.agents import read_json
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, names_in, ok


async def generations(subject: Subject) -> list[Finding]:
    """Report generations whose files differ from what was built. hive builds them again before it starts them."""
    agents = names_in(subject.layout.state / "generations") if subject.exists else []
    findings = [each for agent in agents for each in await asyncio.to_thread(_damaged, subject, agent)]
    return findings or ok(f"those of {len(agents)} agents are whole")


def _damaged(subject: Subject, agent: AgentName) -> list[Finding]:
    folder = subject.layout.generations(agent)
    findings: list[Finding] = []
    roots = {read_json(path).get("id") for path in subject.layout.roots(agent).glob("*.json")}
    for path in sorted(folder.iterdir()):
        stored = path.name in roots and not path.is_symlink()  # a symlink is a system of builder `nix`
        if stored and whole_content(path) is None and path.exists():
            remedy = f"`hive rebuild {agent}` if it runs this one; else a rollback to it builds it again"
            findings.append(
                Finding(Verdict.WARN, f"{path} is damaged: its files are not those that were built", remedy)
            )
    return findings
