"""The counters of turns, as agents claim them. Their labels are agents' names and words of hive's own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter

from meta.names import AgentName

TOKENS = ("input", "output", "cached")


class TurnCounters:
    """Counts turns, in a registry. A series begins with the first turn of an agent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._turns = Counter(
            "hive_turns", "Turns that agents report, by their end", ["agent", "ending"], registry=registry
        )
        self._seconds = Counter(
            "hive_turn_seconds", "Time that turns took, as agents report", ["agent"], registry=registry
        )
        self._tokens = Counter(
            "hive_turn_tokens", "Tokens of turns, as agents report", ["agent", "kind"], registry=registry
        )
        self._cost = Counter("hive_turn_cost_dollars", "Cost of turns, as agents report", ["agent"], registry=registry)
        self._unknown = Counter(
            "hive_turn_unknown_lines", "Lines of CLIs that their harness does not know", ["agent"], registry=registry
        )
        self._unreadable = Counter(
            "hive_turn_unreadable_rows", "Rows of event logs that are no events", ["agent"], registry=registry
        )
        self._agents: dict[AgentName, set[str]] = {}

    def count(
        self,
        agent: AgentName,
        ending: str,
        seconds: float,
        tokens: Mapping[str, int | None],
        dollars: float | None,
        unknown_lines: int = 0,
        unreadable_rows: int = 0,
    ) -> None:
        """Count one turn. `ending` is one of hive's own words; `tokens` has the keys TOKENS."""
        self._agents.setdefault(agent, set()).add(ending)
        self._turns.labels(agent, ending).inc()
        self._seconds.labels(agent).inc(seconds)
        for kind in TOKENS:
            self._tokens.labels(agent, kind).inc(tokens[kind] or 0)
        self._cost.labels(agent).inc(dollars or 0.0)
        self._unknown.labels(agent).inc(unknown_lines)
        self._unreadable.labels(agent).inc(unreadable_rows)

    def forget(self, agent: AgentName) -> None:
        """Remove the series of a purged agent."""
        endings = self._agents.pop(agent, None)
        if endings is None:
            return
        for ending in endings:
            self._turns.remove(agent, ending)
        for kind in TOKENS:
            self._tokens.remove(agent, kind)
        for counter in (self._seconds, self._cost, self._unknown, self._unreadable):
            counter.remove(agent)
