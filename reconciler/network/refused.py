"""What an agent wanted and may not reach, from the report of hive-egress. Pure."""

from __future__ import annotations

from meta.network.report import AgentReport
from reconciler.network.views import RefusedHost
from reconciler.network.words import wanted, wanted_rule

LATELY = 24 * 3600.0
"""Seconds for which `hive status` shows a host after it was refused last. `hive network` shows all."""
LINES_MOST = 3
"""Hosts of one agent that `hive status` names."""


def refused_hosts(report: AgentReport) -> tuple[RefusedHost, ...]:
    """Return what the operator could allow, the most wanted first."""
    rows = [
        RefusedHost(each.host, each.port, wanted_rule(each.host, each.port), each.count, each.first, each.last)
        for each in report.refusals
        if each.verdict.may_be_asked and each.host != "*"
    ]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.host, row.port)))


def wanted_lines(agent: str, report: AgentReport, now: float) -> tuple[str, ...]:
    """Return the lines for `hive status`: each host that was refused lately, with the command that allows it."""
    lately = [each for each in refused_hosts(report) if each.last > now - LATELY]
    lines = [wanted(agent, each.host, each.port, each.count) for each in lately[:LINES_MOST]]
    if (more := len(lately) - LINES_MOST) > 0:
        lines.append(f"wanted {more} other host{'s' if more > 1 else ''}: `hive network {agent}`")
    return tuple(lines)
