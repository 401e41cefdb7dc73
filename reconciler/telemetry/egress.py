"""The metrics of the way out: the sums of hive-egress, as its last report has them, and the tokens that are new.

Their labels are agents' names and words of hive's own: no host, which an agent may make up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from meta.names import AgentName
from meta.network.report import Metered, Report

KINDS = ("input", "output", "cached")


@dataclass(frozen=True, slots=True)
class EgressView:
    """What the way out is now. `up` is also True if nothing is missed; `starts`: how often hive-egress was started."""

    report: Report | None = None
    up: bool = True
    starts: int = 0


class EgressMetrics(Collector):
    """The metrics, in a registry. `show` takes what is scraped next."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._view = EgressView()
        self._agents: frozenset[AgentName] = frozenset()
        self._tokens = Counter(
            "hive_egress_tokens", "Tokens in the answers of the models' APIs", ["agent", "kind"], registry=registry
        )
        registry.register(self)

    def count_tokens(self, agent: AgentName, new: Metered) -> None:
        """Count metered tokens that are new."""
        for kind, number in zip(KINDS, (new.input, new.output, new.cached), strict=True):
            self._tokens.labels(agent, kind).inc(number)

    def forget(self, agent: AgentName) -> None:
        """Remove the series of a purged agent."""
        for kind in KINDS:
            self._tokens.remove_by_labels({"agent": agent, "kind": kind})

    def show(self, view: EgressView, agents: Iterable[AgentName]) -> None:
        """Set what is collected next: the sums of `agents`, and no others."""
        self._view, self._agents = view, frozenset(agents)

    @override
    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the last report."""
        yield GaugeMetricFamily(
            "hive_egress_up", "1 while hive-egress answers, or no agent needs it", value=int(self._view.up)
        )
        yield CounterMetricFamily("hive_egress_starts", "Starts of hive-egress by this daemon", value=self._view.starts)
        opened = GaugeMetricFamily("hive_egress_open_connections", "Connections that go on", labels=["agent"])
        ended = CounterMetricFamily(
            "hive_egress_connections", "Connections that agents asked for", labels=["agent", "verdict"]
        )
        carried = CounterMetricFamily("hive_egress_bytes", "Bytes carried", labels=["agent", "direction"])
        for name, each in self._view.report.agents.items() if self._view.report is not None else ():
            if name not in self._agents:
                continue
            opened.add_metric([name], each.open)
            for verdict, count in each.verdicts.items():
                ended.add_metric([name, verdict], count)
            carried.add_metric([name, "sent"], each.sent)
            carried.add_metric([name, "received"], each.received)
        yield from (opened, ended, carried)
