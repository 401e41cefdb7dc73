"""The row of one agent in the status, from what was seen of it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from meta.model import AgentEntry, Deploy, NetworkGrant, RunEntry
from meta.names import AgentName, ProposalId, Sha
from meta.wire.link import About
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, LinkView
from reconciler.plan.plan import open_ids
from reconciler.plan.turn import turn_began
from reconciler.views import AgentStatus, PodView, WorkspaceView

IDS_MOST = 5
"""Stale ids that a row names."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """All that the row says.

    `since` is when the phase began, `trouble` the error that its worker met last. `lines` say what is wrong with its
    repos and files. `declared` is how its declaration stands to git. `approved_model` is that of the deployed
    agent.toml, if the operator set another one.
    """

    agent: AgentName
    decision: Decision
    observed: AgentObserved
    deploys: tuple[Deploy, ...]
    entry: AgentEntry | None
    run: RunEntry
    since: float
    unread: int
    trouble: str | None
    lines: tuple[str, ...]
    declared: str
    grants: tuple[NetworkGrant, ...]
    approved_model: str | None


def agent_row(facts: RowFacts) -> AgentStatus:
    """Return the row."""
    decision, observed, entry, run = facts.decision, facts.observed, facts.entry, facts.run
    launch, pid, link = observed.container.launch, observed.container.pid, observed.link
    trouble = (facts.trouble,) if facts.trouble and facts.trouble not in decision.conditions else ()
    row = AgentStatus(
        agent=facts.agent,
        role=entry.settings.role if entry else "agent",
        phase=decision.phase,
        since=facts.since,
        turn=str(link.turn) if link.turn else None,
        desired=run.state if entry else "absent",
        generation=launch.generation if launch and pid is not None else None,
        sha=_running_sha(observed) if pid is not None else None,
        deployed=entry.pin.id if entry else None,
        in_flight=decision.deploy,
        pending=open_ids(facts.deploys),
        pid=pid,
        crashes=observed.memo.crashes,
        unread=facts.unread,
        conditions=(*decision.conditions, *trouble, *facts.lines),
        built_with=decision.outdated.built if decision.outdated is not None else None,
        disk_bytes=observed.disk.bytes if observed.disk is not None else None,
        reason=decision.reason,
        remedy=decision.remedy,
        turn_since=turn_began(observed),
        turn_limit=observed.turn_limit,
        paused=run.paused,
        declared=facts.declared,
        disk_limit_mib=entry.settings.limits.disk_mib if entry else None,
        grants=facts.grants,
    )
    return _with_runtime(_with_turn(row, link), link.about, facts.approved_model)


def _with_turn(row: AgentStatus, link: LinkView) -> AgentStatus:
    """Add what the harness reports about its state."""
    if not link.connected:
        return row
    return replace(
        row,
        state_since=link.state_since,
        context_tokens=link.context,
        context_window=link.window or None,
        turn_number=link.turn_number if row.turn_since is not None else None,
        turn_until=link.until,
        turn_reason=link.reason,
        turn_person=link.person,
        pods=pod_views(link),
    )


def pod_views(link: LinkView) -> tuple[PodView, ...]:
    """Return the pods of an agent as its harness reports them."""
    return tuple(
        PodView(pod.name, pod.parent, pod.state, pod.scope, pod.turn, pod.result, pod.ended) for pod in link.pods
    )


def _with_runtime(row: AgentStatus, about: About | None, approved: str | None) -> AgentStatus:
    """Add what the harness reports about its runtime."""
    if about is None:
        return row
    return replace(
        row,
        runtime=about.runtime,
        program=about.program,
        model=about.model,
        model_override=about.override or None,
        model_hidden=approved if approved != about.override else None,
        runtime_problem=about.problem,
        key_outside=about.key,
        workspaces=tuple(WorkspaceView(each.path, each.state, each.text) for each in about.workspaces),
    )


def stale_line(stale: frozenset[ProposalId]) -> tuple[str, ...]:
    """Return one line that names the stale ids; no line if there are none."""
    ids = sorted(stale)
    if not ids:
        return ()
    some = ", ".join(map(str, ids[:IDS_MOST])) + (" and others" if len(ids) > IDS_MOST else "")
    verb = "is" if len(ids) == 1 else "are"
    return (f"{some} {verb} stale, made from an older commit: rebase (see `hive diff {ids[0]}`), or deny",)


def _running_sha(observed: AgentObserved) -> Sha | None:
    """Return the commit of what runs. Of ids with one generation, a rollback and its target, the newest counts."""
    launch = observed.container.launch
    if launch is None:
        return None
    shas = {id: generation.sha for id, generation in observed.built.items() if generation.id == launch.generation}
    return shas[max(shas)] if shas else None


class Rows:
    """The rows that were made last. One whose facts are the same is used again."""

    def __init__(self) -> None:
        self._rows: dict[AgentName, tuple[RowFacts, AgentStatus]] = {}

    def of(self, facts: RowFacts) -> AgentStatus:
        """Return the row of these facts."""
        kept = self._rows.get(facts.agent)
        if kept is not None and kept[0] == facts:  # which compares what is the same object by identity
            return kept[1]
        row = agent_row(facts)
        self._rows[facts.agent] = (facts, row)
        return row

    def keep_only(self, agents: Collection[AgentName]) -> None:
        """Forget all other agents."""
        for gone in self._rows.keys() - set(agents):
            del self._rows[gone]
