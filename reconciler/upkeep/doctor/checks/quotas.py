"""The check of the agents' disk limits: one that is larger than the file system never holds."""

from __future__ import annotations

from meta.config import Config
from reconciler.common.reserve import room_in
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

MIB = 2**20


async def quotas(subject: Subject) -> list[Finding]:
    """Check that the limit of each agent's files is smaller than the file system."""
    if not subject.layout.state.exists():
        return ok("there is no state directory yet")
    whole = room_in(subject.host.disk(subject.layout.state)).whole // MIB
    if not whole:
        return ok("the size of the file system is unknown")
    place, view = f"the file system of {subject.layout.state} has {whole} MiB", await subject.view()
    findings, most = [], subject.config.agent_disk_mib
    if most > whole and most != Config.model_fields["agent_disk_mib"].default:
        text = f"HIVE_AGENT_DISK_MIB is {most}, and {place}: {whole // 2} MiB, half of it, count for each agent"
        findings.append(Finding(Verdict.WARN, text, "lower it (services.hive.settings.agent_disk_mib on NixOS)"))
    for agent, entry in sorted(view.desired.agents.items()) if view is not None else ():
        own = entry.settings.limits.disk_mib
        if own is not None and own > whole:
            text = f"{agent}: its disk_mib is {own}, and {place}: the limit never holds"
            findings.append(Finding(Verdict.WARN, text, "lower it in agents.json of meta: docs/howto/limits.md"))
    return findings or ok(f"every agent's limit is smaller than the file system ({whole} MiB)")
