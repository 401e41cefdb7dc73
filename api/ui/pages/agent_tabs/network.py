"""What an agent may reach and why, what it was refused, what it asks for, and what went where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.operations.base import Call
from api.operations.lifecycle import Named
from api.operations.network import (
    AllowInput,
    ConnectionsInput,
    DenyInput,
    NetworkInput,
    RevokeInput,
    network,
    network_connections,
    network_revoke,
)
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Action, Done, Region, Shown
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.tab import tab
from api.ui.pages.needs_you.acting import allow_it, refuse_it
from meta.errors import HiveError
from meta.network.report import ConnectionRecord
from meta.network.verdict import Verdict
from reconciler.network.reach import RuleRow, covering

ROWS = 60
"""Rows of one table: rules, refused hosts, hosts with traffic."""
AGAIN = 5.0
"""Seconds after which the page is read again: a connection is no change of hive."""
HOUR = 3_600
TIMES = ((HOUR, "1 hour"), (8 * HOUR, "8 hours"), (24 * HOUR, "1 day"), (7 * 24 * HOUR, "7 days"))
"""For how long a host can be allowed, in seconds, and the words."""


@dataclass(frozen=True, slots=True)
class HostSum:
    """What went to one host and port. `open` connections go on; `refused` were not let through."""

    host: str
    port: int
    connections: int
    open: int
    refused: int
    sent: int
    received: int
    last: float


def sums_of(records: Iterable[ConnectionRecord]) -> list[HostSum]:
    """Return the sums of each host and port, the last one used first."""
    found: dict[tuple[str, int], HostSum] = {}
    for record in records:
        key = (record.host, record.port)
        old = found.get(key, HostSum(record.host, record.port, 0, 0, 0, 0, 0, 0.0))
        found[key] = HostSum(
            record.host,
            record.port,
            old.connections + 1,
            old.open + (record.number == 0),
            old.refused + (record.verdict is not Verdict.ALLOWED),
            old.sent + record.sent,
            old.received + record.received,
            max(old.last, record.at + record.seconds),
        )
    return sorted(found.values(), key=lambda each: -each.last)


def beside_rules(hosts: Iterable[HostSum], reach: Sequence[RuleRow]) -> list[HostSum]:
    """Return the hosts that were reached and that no rule names: the way to them is a key of hive."""
    return [each for each in hosts if each.connections > each.refused and not covering(reach, each.host, each.port)]


async def view(moment: Moment, asked: Named) -> Shown:
    """Return the way out of one agent."""
    head = await read_head(moment, asked.agent, "network")
    views = await moment.ask(network, NetworkInput(agent=asked.agent))
    problem, hosts = "", list[HostSum]()
    try:
        hosts = sums_of((await moment.ask(network_connections, ConnectionsInput(agent=asked.agent))).connections)
    except HiveError as error:
        problem = error.summary
    values = {
        "head": head,
        "net": views[0],
        "hosts": hosts[:ROWS],
        "more_hosts": max(0, len(hosts) - ROWS),
        "most": ROWS,
        "by_key": beside_rules(hosts, views[0].reach)[:ROWS] if views[0].keys else [],
        "problem": problem,
        "times": TIMES,
    }
    return Shown(values, f"Network of {asked.agent}", AGAIN)


async def revoke(call: Call, asked: RevokeInput) -> Done:
    """Take back a host that was allowed for a time."""
    return Done(f"{(await do(call, network_revoke, asked)).text}.")


NETWORK = tab("network", "Network", Named, view, Region("network", "agent_tabs/network_tables.html"))
ACTIONS = (
    Action("/agents/{agent}/network/allow", AllowInput, allow_it),
    Action("/agents/{agent}/network/refuse", DenyInput, refuse_it),
    Action("/agents/{agent}/network/revoke", RevokeInput, revoke),
)
