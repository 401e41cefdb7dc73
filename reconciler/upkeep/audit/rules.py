"""The rules between an agent's tags, meta's commits and the events. Each violation is a finding. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from meta.applied import tags
from meta.applied.source import Source, SourceKind
from meta.applied.states import furthest, tag_name
from meta.applied.tags import ReadTag
from meta.consent import how_of
from meta.desired.view import LogEntry
from meta.model import TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.store.events.log import EventRow

FAULT, WARNING, NOTE = "fault", "warning", "note"
COMMITTING = frozenset({"deploy", "rollback", "spawn"})
"""Actions of meta's log that deploy one id."""

Tags = Mapping[ProposalId, Mapping[TagState, ReadTag]]
_STATE_OF = {
    "proposal_approved": TagState.APPROVED,
    "proposal_denied": TagState.DENIED,
    "deploy_succeeded": TagState.DEPLOYED,
    "deploy_failed": TagState.FAILED,
}
_STATES = {state.value: state for state in TagState}


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation. `level` is "fault", "warning" (a check is not possible) or "note" (explained, or soon completed).

    `rule` is one word for programs.
    """

    level: str
    rule: str
    agent: str | None
    id: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval: the user, the time in Unix seconds, and the commit that the user saw.

    `state`: the id's furthest tag. `consent`: how it was given, "" if no passkey was asked for.
    """

    agent: str
    id: int
    by: str | None
    seen: str | None
    sha: str
    at: int
    state: str
    consent: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """Meta `main`: its commits, the ids that `hive adopt` gave up, the commit of each id, and agents being purged."""

    commits: Mapping[Sha, LogEntry]
    disowned: Mapping[AgentName, frozenset[ProposalId]]
    committed: Mapping[AgentName, Mapping[ProposalId, Sha]]
    purging: frozenset[AgentName]


def approvals(agent: AgentName, tags_by_id: Tags) -> Iterator[Approval]:
    """Return every approval among an agent's tags, by id."""
    for id, states in sorted(tags_by_id.items()):
        approval = states.get(TagState.APPROVED)
        if approval is not None:
            by, seen = approval.get(tags.BY), approval.get(tags.SEEN)
            consent, state = how_of(approval.message.trailers), str(furthest(states))
            yield Approval(agent, id, by, seen, approval.sha, approval.at, state, consent)


def tag_findings(
    agent: AgentName,
    tags_by_id: Tags,
    history: History,
    agents: frozenset[str],
    seed: Sha | None,
    older: frozenset[ProposalId] = frozenset(),
) -> Iterator[Finding]:
    """Check the tags of one agent, by themselves and against meta. `older`: the ids that it had in an older hive."""
    for id, states in sorted(tags_by_id.items()):
        if id in older:
            yield Finding(NOTE, "older", agent, id, f"{id} is of an older hive, which signed and bound nothing")
            continue
        if _is_migration(states):
            if seed is not None and states[TagState.DEPLOYED].sha != seed:
                yield Finding(FAULT, "seed", agent, id, f"deployed/{id} is not the commit that the migration made")
            continue
        if _marks_seed(states):
            if seed is not None and states[TagState.DEPLOYED].sha != seed:
                yield Finding(FAULT, "seed", agent, id, f"deployed/{id} is not the seed commit")
            continue
        yield from _rivals(agent, id, states)
        yield from _order(agent, id, states)
        yield from _moved(agent, id, states)
        yield from _approval(agent, id, states, agents)
        if TagState.DEPLOYED in states:
            yield from _deployed(agent, id, states, history)


def _is_migration(states: Mapping[TagState, ReadTag]) -> bool:
    """Return True for what an older hive had deployed: its tags precede its commit in meta."""
    proposal = states.get(TagState.PROPOSAL)
    if proposal is None or TagState.DEPLOYED not in states or states[TagState.DEPLOYED].get(tags.META) is not None:
        return False
    return Source.parse(proposal.get(tags.SOURCE) or "").kind is SourceKind.OLDER


def _marks_seed(states: Mapping[TagState, ReadTag]) -> bool:
    """Return True if the only tag is that of the seed commit, which has no approval and no meta commit."""
    only = states.get(TagState.DEPLOYED) if len(states) == 1 else None
    if only is None or only.get(tags.META) is not None:
        return False
    return Source.parse(only.get(tags.SOURCE) or "").kind is SourceKind.SEED


def _rivals(agent: AgentName, id: ProposalId, states: Mapping[TagState, ReadTag]) -> Iterator[Finding]:
    ends = [state for state in states if state.terminal]
    if len(ends) > 1 or (TagState.DENIED in states and TagState.APPROVED in states):
        named = ", ".join(tag_name(state, id) for state in sorted(states) if state is not TagState.PROPOSAL)
        yield Finding(FAULT, "rivals", agent, id, f"tags that exclude each other: {named}")


def _order(agent: AgentName, id: ProposalId, states: Mapping[TagState, ReadTag]) -> Iterator[Finding]:
    denied = states.get(TagState.DENIED)
    if denied is not None and denied.proposal is not None:
        if TagState.PROPOSAL not in states:
            yield Finding(NOTE, "not-kept", agent, id, f"commit {denied.sha} is no longer kept: {id} was denied")
    elif TagState.PROPOSAL not in states:
        yield Finding(
            FAULT, "order", agent, id, f"there is no proposal/{id}, but {', '.join(map(str, sorted(states)))}"
        )
    if TagState.DEPLOYED in states:
        for state in (TagState.APPROVED, TagState.BUILDING):
            if state not in states:
                yield Finding(FAULT, "order", agent, id, f"deployed/{id} without {tag_name(state, id)}")


def _moved(agent: AgentName, id: ProposalId, states: Mapping[TagState, ReadTag]) -> Iterator[Finding]:
    proposal = states.get(TagState.PROPOSAL)
    for state, tag in states.items():
        if proposal is not None and tag.sha != proposal.sha:
            text = f"{tag_name(state, id)} is commit {tag.sha[:12]}, the proposal is {proposal.sha[:12]}"
            yield Finding(FAULT, "moved", agent, id, text)


def _approval(
    agent: AgentName, id: ProposalId, states: Mapping[TagState, ReadTag], agents: frozenset[str]
) -> Iterator[Finding]:
    approval = states.get(TagState.APPROVED)
    if approval is None:
        return
    by, seen = approval.get(tags.BY), approval.get(tags.SEEN)
    if by is None:
        yield Finding(FAULT, "by", agent, id, f"approved/{id} does not name the approver: was it made by hand?")
    elif by.split()[0] in agents:
        yield Finding(FAULT, "by", agent, id, f"approved/{id} is by {by}, but agents may not approve")
    expected = states.get(TagState.PROPOSAL, approval).sha
    if seen is None:
        yield Finding(
            FAULT, "seen", agent, id, f"approved/{id} does not name the commit that was seen: was it made by hand?"
        )
    elif seen != expected:
        text = f"{by or 'an unknown user'} approved {id} having seen {seen[:12]}, but it is {expected[:12]}"
        yield Finding(FAULT, "seen", agent, id, text)


def _deployed(
    agent: AgentName, id: ProposalId, states: Mapping[TagState, ReadTag], history: History
) -> Iterator[Finding]:
    deployed = states[TagState.DEPLOYED]
    named = deployed.get(tags.META)
    entry = history.commits.get(Sha(named)) if named else None
    if id in history.disowned.get(agent, frozenset()):
        yield Finding(NOTE, "disowned", agent, id, f"deployed/{id} was given up by `hive adopt`")
    elif named is None:
        yield Finding(FAULT, "no-commit", agent, id, f"deployed/{id} names no commit of meta: was it made by hand?")
    elif entry is None:
        text = f"deployed/{id} names the meta commit {named[:12]}, which is not in main"
        yield Finding(FAULT, "no-commit", agent, id, text)
    elif (entry.agent, entry.id, entry.sha) != (agent, id, deployed.sha):
        text = f"deployed/{id} is {deployed.sha[:12]}, its meta commit {named[:12]} deploys {_describe(entry)}"
        yield Finding(FAULT, "other-commit", agent, id, text)


def meta_findings(tags_by_id: Mapping[AgentName, Tags], history: History) -> Iterator[Finding]:
    """Check that each meta commit that deploys an id has the tag of that id."""
    for agent, ids in sorted(history.committed.items()):
        if agent in history.purging:
            yield Finding(NOTE, "purge", agent, None, "the agent is being purged, and its tags with it")
            continue
        for id, commit in sorted(ids.items()):
            entry = history.commits[commit]
            states = tags_by_id.get(agent, {}).get(id, {})
            if entry.action not in COMMITTING or TagState.DEPLOYED in states:
                continue
            text = f"meta commit {commit[:12]} deploys {id}, but there is no deployed/{id}"
            if id in history.disowned.get(agent, frozenset()):
                yield Finding(NOTE, "disowned", agent, id, f"{text}; given up by `hive adopt`")
            elif states and furthest(states) is TagState.BUILDING:
                yield Finding(NOTE, "unfinished", agent, id, f"{text} yet; the daemon completes it")
            else:
                yield Finding(FAULT, "no-tag", agent, id, text)


def event_findings(events: Iterable[EventRow], tags_by_id: Mapping[AgentName, Tags]) -> Iterator[Finding]:
    """Check that events agree with the tags. Ids that were reverted or purged later are skipped."""
    decisions: dict[tuple[str, int], list[EventRow]] = {}
    for row in events:
        id = row.data.get("id")
        if row.kind == "agent_purged":
            decisions = {key: rows for key, rows in decisions.items() if key[0] != row.agent}
        elif row.agent is not None and isinstance(id, int):
            if row.kind == "card_reverted":
                decisions.pop((row.agent, id), None)
            elif row.kind in _STATE_OF:
                decisions.setdefault((row.agent, id), []).append(row)
    for (agent, id), rows in sorted(decisions.items()):
        states = tags_by_id.get(AgentName(agent), {}).get(ProposalId(id), {})
        for row in rows:
            yield from _event(row, agent, id, states)


def _event(row: EventRow, agent: str, id: int, states: Mapping[TagState, ReadTag]) -> Iterator[Finding]:
    state = _STATE_OF[row.kind]
    tag = states.get(state)
    if tag is None:
        text = f"event {row.n} reports {tag_name(state, ProposalId(id))}, but there is no such tag"
        yield Finding(FAULT, "event", agent, id, text)
        return
    sha, by = row.data.get("sha"), row.data.get("by")
    if isinstance(sha, str) and sha != tag.sha:
        text = f"event {row.n} has commit {sha[:12]} for {id}, the tag has {tag.sha[:12]}"
        yield Finding(FAULT, "event", agent, id, text)
    if isinstance(by, str) and by != (tag.get(tags.BY) or tags.UNKNOWN):
        text = f"event {row.n} has {id} {state} by {by}, the tag has {tag.get(tags.BY) or tags.UNKNOWN}"
        yield Finding(FAULT, "event", agent, id, text)


def _describe(entry: LogEntry) -> str:
    return f"{entry.agent or 'no agent'} {entry.id if entry.id is not None else ''} {(entry.sha or '')[:12]}".strip()
