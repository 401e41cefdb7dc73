"""What happened meanwhile: events as counts and the newest details of each agent. Pure but for the reading of pages."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from reconciler.events.feed import Events
from reconciler.store.events.log import Filter
from reconciler.views import AgentDigest, Digest, Event

AGENTS_MOST = 200
"""Agents in one digest: those with the most events."""
APPROVERS_MOST = 50
TEXT_MOST = 500
"""Characters of one text in a detail."""

COUNTED: Mapping[str, str] = MappingProxyType(
    {
        "deploy_succeeded": "deploys",
        "deploy_failed": "failed deploys",
        "rollback_started": "rollbacks",
        "rollback_failed": "failed rollbacks",
        "container_crash": "crashes",
        "agent_unhealthy": "failed health gates",
        "turn_stuck": "stuck turns",
        "turn_killed": "killed turns",
        "agent_restarted": "restarts",
        "agent_rebuilt": "rebuilds",
        "agent_rebuild_failed": "failed rebuilds",
        "reconcile_error": "errors",
        "repaired": "repairs",
        "message_dead": "dead letters",
        "broadcast_missed": "missed broadcasts",
        "question_asked": "questions",
        "question_answered": "answers",
        "operator_message": "messages to the operator",
        "proposal_created": "proposals",
        "proposal_approved": "approvals",
        "proposal_denied": "denials",
        "tip_refused": "refused commits",
        "agent_spawned": "spawns",
        "agent_destroyed": "destroyed",
        "agent_cli_missing": "coding agents missing",
        "agent_needs_login": "logins needed",
        "agent_over_budget": "budgets used up",
        "agent_over_disk": "stops for the disk",
        "agent_disagrees": "disagreements",
        "agent_adopted": "adoptions",
        "run_changed": "requests to start or stop",
        "agent_paused": "pauses",
        "model_set": "changes of the model",
        "network_refused": "refused hosts",
        "network_requested": "requests for hosts",
        "network_allowed": "hosts allowed for a time",
        "network_denied": "hosts denied",
        "network_revoked": "hosts taken back",
        "dashboard_login": "logins to the dashboard",
        "dashboard_login_refused": "refused logins to the dashboard",
        "daemon_started": "starts of the daemon",
        "daemon_failed": "failures of the daemon",
        "database_rebuilt": "rebuilt databases",
        "disk_full": "full disks",
        "hive_down": "times taken down",
        "rebuild_all_ended": "rebuilds of all",
    }
)
"""The kinds of events in a digest with their word, in the order of the counts. Others are steps on the way."""

ROLLBACK = "rollback"
"""The kind of a deploy that an operator's rollback made. It counts among the rollbacks."""


@dataclass(slots=True)
class _Agent:
    counts: Counter[str] = field(default_factory=Counter)
    details: deque[Event] = field(default_factory=deque)


class Sum:
    """The events that were added so far. `details` bounds the newest ones that each agent keeps."""

    def __init__(self, since: float, details: int) -> None:
        self._since = since
        self._details = details
        self._agents: dict[str | None, _Agent] = {}
        self._approvers: Counter[str] = Counter()
        self._events = 0

    def add(self, events: Iterable[Event]) -> None:
        """Add events, oldest first. Leave out those of other kinds, and those that are too old."""
        for event in events:
            word = COUNTED.get(event.kind)
            if word is None or event.at < self._since:
                continue
            if event.kind == "deploy_succeeded" and event.data.get("kind") == ROLLBACK:
                word = COUNTED["rollback_started"]
            agent = self._agents.get(event.agent)
            if agent is None:
                agent = self._agents[event.agent] = _Agent(details=deque(maxlen=self._details))
            agent.counts[word] += 1
            agent.details.append(event)
            self._events += 1
            if event.kind == "proposal_approved":
                self._approvers[str(event.data.get("approved_by") or "unknown")] += 1

    def digest(self, until: float, oldest: float | None) -> Digest:
        """Return the digest. `oldest`: the time of the oldest event that is kept, if older ones were pruned."""
        most = sorted(self._agents, key=lambda name: (-self._agents[name].counts.total(), name or ""))
        shown = sorted(most[:AGENTS_MOST], key=lambda name: (name is None, name or ""))
        return Digest(
            since=self._since,
            until=until,
            complete=oldest is None or oldest <= self._since,
            events=self._events,
            approved_by=dict(self._approvers.most_common(APPROVERS_MOST)),
            agents=[_row(name, self._agents[name]) for name in shown],
            left_out=len(most) - len(shown),
        )


def digest(events: Iterable[Event], since: float, until: float, details: int, oldest: float | None = None) -> Digest:
    """Return what happened from `since` to `until`, from events, oldest first."""
    made = Sum(since, details)
    made.add(events)
    return made.digest(until, oldest)


@dataclass(frozen=True, slots=True)
class DigestQuery:
    """The digest query. It reads page by page, so that the loop is never held up by a long log."""

    events: Events
    clock: Callable[[], float] = time.time

    async def __call__(self, since: float, agent: str | None, details: int) -> Digest:
        """Return what happened since a Unix time, of one agent or of all and the daemon."""
        made, only = Sum(since, details), Filter(agent, frozenset(COUNTED), since)
        async for page in self.events.pages(only):
            made.add(page)
        return made.digest(self.clock(), await self.events.pruned_before())


def _row(name: str | None, agent: _Agent) -> AgentDigest:
    order = list(dict.fromkeys(COUNTED.values()))
    counts = {word: agent.counts[word] for word in sorted(agent.counts, key=order.index)}
    newest = [dataclasses.replace(event, data=_short(event.data)) for event in reversed(agent.details)]
    return AgentDigest(name, counts, newest, agent.counts.total() - len(newest))


def _short(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value[:TEXT_MOST] if isinstance(value, str) else value for key, value in data.items()}
