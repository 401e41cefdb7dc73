"""What an agent wanted and may not reach, from the report of hive-egress. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meta.network.reach import CEILING
from meta.network.report import AgentReport, Refusal
from meta.network.rule import Rule, authority, covers
from reconciler.network.views import RefusedHost
from reconciler.network.words import wanted

LATELY = 24 * 3600.0
"""Seconds for which `hive status` shows a host after it was refused last. `hive network` shows all."""
BEYOND = f"beyond the operator's ceiling ({CEILING})"
"""Why no command allows a host."""
LINES_MOST = 3
"""Hosts of one agent that `hive status` names."""


def refused_hosts(report: AgentReport, ceiling: Sequence[Rule] | None) -> tuple[RefusedHost, ...]:
    """Return what a rule could allow, the most wanted first. What the operator's ceiling forbids says so."""
    rows = [_row(each, ceiling) for each in report.refusals if each.may_be_asked]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.host, row.port)))


def wanted_lines(agent: str, report: AgentReport, now: float, ceiling: Sequence[Rule] | None) -> tuple[str, ...]:
    """Return the lines for `hive status`: each host that was refused lately, with the command that allows it.

    Those that no command allows come last.
    """
    lately = [each for each in refused_hosts(report, ceiling) if each.last > now - LATELY]
    lately.sort(key=lambda each: bool(each.problem))
    lines = [wanted(agent, each.host, each.port, each.count, each.problem) for each in lately[:LINES_MOST]]
    if (more := len(lately) - LINES_MOST) > 0:
        lines.append(f"wanted {more} other host{'s' if more > 1 else ''}: `hive network {agent}`")
    return tuple(lines)


def _row(each: Refusal, ceiling: Sequence[Rule] | None) -> RefusedHost:
    rule = authority(each.host, each.port)
    problem = "" if ceiling is None or covers(ceiling, each.host, each.port) else BEYOND
    return RefusedHost(each.host, each.port, rule, each.count, each.first, each.last, problem)
