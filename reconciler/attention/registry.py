"""The registry of kinds: each with its severity and its source. A new kind is one function and one line. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from meta.names import AgentName
from meta.text import one_line
from reconciler.attention import sources
from reconciler.attention.facts import Facts
from reconciler.attention.links import link
from reconciler.attention.row import Row, Severity
from reconciler.attention.sources import Draft

TITLE_LIMIT = 100
DETAIL_LIMIT = 300
"""Characters of a title and of a detail, at most."""
KEEP = 60.0
"""Seconds for which a new daemon keeps the time of a row that it has not seen itself."""
CUT = "…"
"""Ends a detail that was cut."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row."""

    name: str
    severity: Severity
    source: Callable[[Facts], Iterable[Draft]]


KINDS = (
    Kind("disk-full", Severity.CRITICAL, sources.disk),
    Kind("meta-unreadable", Severity.CRITICAL, sources.meta),
    Kind("no-descriptors", Severity.CRITICAL, sources.descriptors),
    Kind("daemon-task", Severity.HIGH, sources.tasks),
    Kind("database-set-aside", Severity.HIGH, sources.set_aside),
    Kind("meta-lock", Severity.HIGH, sources.locks),
    Kind("no-manager", Severity.HIGH, sources.no_manager),
    Kind("way-out", Severity.HIGH, sources.way_out),
    Kind("dashboard", Severity.HIGH, sources.dashboard),
    Kind("passkey-copied", Severity.HIGH, sources.copied_passkeys),
    Kind("rollout-failed", Severity.HIGH, sources.rollout),
    Kind("agent-failed", Severity.HIGH, sources.failed),
    Kind("deploy-failed", Severity.HIGH, sources.failed_deploys),
    Kind("agent-damaged", Severity.HIGH, sources.damaged),
    Kind("agent-held", Severity.HIGH, sources.held),
    Kind("agent-over-disk", Severity.HIGH, sources.over_disk),
    Kind("agent-stuck", Severity.HIGH, sources.stuck),
    Kind("agent-error", Severity.HIGH, sources.errors),
    Kind("agent-no-program", Severity.NORMAL, sources.no_program),
    Kind("agent-needs-login", Severity.NORMAL, sources.needs_login),
    Kind("agent-model-refused", Severity.NORMAL, sources.refused_by_model),
    Kind("agent-over-budget", Severity.NORMAL, sources.over_budget),
    Kind("question", Severity.NORMAL, sources.questions),
    Kind("proposal", Severity.NORMAL, sources.proposals),
    Kind("network-request", Severity.NORMAL, sources.network_requests),
    Kind("dead-letter", Severity.NORMAL, sources.dead_letters),
    Kind("refused-push", Severity.NORMAL, sources.refused),
    Kind("agent-parked", Severity.LOW, sources.parked),
    Kind("stale-proposal", Severity.LOW, sources.stale_proposals),
    Kind("agent-condition", Severity.LOW, sources.conditions),
    Kind("watching", Severity.LOW, sources.watching),
    Kind("messages", Severity.LOW, sources.messages),
)
"""Every kind. The key of a row begins with its kind."""


class FirstSeen:
    """The time at which each row was first seen whose own time is unknown, or is only what this daemon observed."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._keep_until = float("-inf")

    @property
    def times(self) -> Mapping[str, float]:
        """The time of each row, by its key."""
        return self._at

    def restore(self, times: Mapping[str, float], now: float) -> None:
        """Take over the times of the daemon before. For KEEP seconds a row may be missing, since looks begin anew."""
        self._at = {key: min(at, now, self._at.get(key, at)) for key, at in {**self._at, **times}.items()}
        self._keep_until = now + KEEP

    def note(self, times: Mapping[str, float], now: float) -> Mapping[str, float]:
        """Return the earliest time of each key that was noted since it is there. Forget all other keys."""
        kept = self._at if now < self._keep_until else {}
        self._at = {**kept, **{key: min(at, self._at.get(key, at)) for key, at in times.items()}}
        return self._at


def collect(facts: Facts, seen: FirstSeen, now: float) -> tuple[Row, ...]:
    """Return all rows, the most severe first, then the oldest. Texts are cleaned and bounded."""
    drafts = {f"{kind.name}:{draft.key}": (kind, draft) for kind in KINDS for draft in kind.source(facts)}
    own = {key: now if draft.since is None else float(draft.since) for key, (_, draft) in drafts.items()}
    unsure = {key for key, (_, draft) in drafts.items() if draft.since is None or draft.observed}
    first = seen.note({key: own[key] for key in unsure}, now)
    rows = [
        _row(key, kind, draft, first[key] if key in unsure else own[key], facts.origin)
        for key, (kind, draft) in drafts.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.severity.rank, row.since, row.key)))


def count_kinds(rows: Sequence[Row]) -> dict[tuple[str, str], int]:
    """Return the number of rows by kind and severity, 0 for a kind without rows."""
    counted = Counter(row.kind for row in rows)
    return {(kind.name, kind.severity.value): counted[kind.name] for kind in KINDS}


def _row(key: str, kind: Kind, draft: Draft, since: float, origin: str) -> Row:
    key, agent = one_line(key), None if draft.agent is None else AgentName(one_line(draft.agent, TITLE_LIMIT))
    return Row(
        key=key,
        kind=kind.name,
        severity=kind.severity,
        agent=agent,
        since=since,
        title=one_line(draft.title, TITLE_LIMIT),
        detail=_detail(draft.detail, draft.remedy),
        command=one_line(draft.command),
        link=link(origin, kind.name, key, agent),
    )


def _detail(text: str, remedy: str) -> str:
    """Return `text` and the remedy. A long text is cut, with a mark, so that the remedy stays whole."""
    end = _cut(remedy, DETAIL_LIMIT)
    begin = _cut(text, DETAIL_LIMIT - len(end) - len("; ") if end else DETAIL_LIMIT)
    return "; ".join(part for part in (begin, end) if part)


def _cut(text: str, limit: int) -> str:
    whole = one_line(text, DETAIL_LIMIT + 1)
    if len(whole) <= limit:
        return whole
    return f"{whole[: limit - 1].rstrip()}{CUT}" if limit > 0 else ""
