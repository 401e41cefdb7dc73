"""The meta repo as one frozen value, and how each new commit on `main` changes it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meta.desired import trailers
from meta.git.message import decode
from meta.git.objects import Commit
from meta.model import Candidate, Desired
from meta.names import AgentName, ProposalId, Sha


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit on `main`, which is one line of the deploy log. `at` is in Unix seconds."""

    commit: Sha
    at: int
    action: str
    agent: AgentName | None
    id: ProposalId | None
    sha: Sha | None
    generation: str | None
    by: str | None
    subject: str


@dataclass(frozen=True, slots=True)
class History:
    """The facts from the commits on `main`, from their trailers.

    `committed` is the commit of each deployed id, `sources` the commit that its generation is built from: a rebuild may
    have used newer shared inputs than the deploy.
    """

    commits: frozenset[Sha] = frozenset()
    committed: Mapping[AgentName, Mapping[ProposalId, Sha]] = field(default_factory=dict)
    highest: int = 0
    sources: Mapping[AgentName, Mapping[ProposalId, Sha]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetaView:
    """The meta repo at one moment. `history` is all commits of `main`, `highest_id` the highest id in a trailer.

    For `committed` and `sources` see `History`.
    """

    desired: Desired
    committed: Mapping[AgentName, Mapping[ProposalId, Sha]]
    history: frozenset[Sha]
    candidates: Mapping[AgentName, Mapping[ProposalId, Candidate]]
    highest_id: int = 0
    sources: Mapping[AgentName, Mapping[ProposalId, Sha]] = field(default_factory=dict)

    def parts(self, agent: AgentName) -> tuple[object, ...]:
        """Return everything that is said of one agent, to compare it with another moment."""
        desired = self.desired
        of_branches = (self.candidates.get(agent), self.committed.get(agent), self.sources.get(agent))
        return (desired.agents.get(agent), desired.tombstones.get(agent), desired.run.get(agent), *of_branches)


def log_entry(commit: Commit) -> LogEntry:
    """Return a commit as a line of the log. A commit that hive did not write is an `edit`."""
    message = decode(commit.message)
    values = message.trailers
    id = values.get(trailers.ID, "")
    return LogEntry(
        commit=commit.sha,
        at=commit.at,
        action=values.get(trailers.ACTION, "edit"),
        agent=AgentName(values[trailers.AGENT]) if values.get(trailers.AGENT) else None,
        id=ProposalId(int(id)) if id.isascii() and id.isdecimal() else None,
        sha=Sha(values[trailers.SHA]) if values.get(trailers.SHA) else None,
        generation=values.get(trailers.GENERATION) or None,
        by=values.get(trailers.BY) or None,
        subject=message.subject,
    )


def extend(history: History, commits: Iterable[Commit]) -> History:
    """Return `history` with more commits, which come oldest first."""
    fresh: list[Sha] = []
    committed, sources = dict(history.committed), dict(history.sources)
    highest = history.highest
    for commit in commits:
        fresh.append(commit.sha)
        entry = log_entry(commit)
        if entry.agent is None:
            continue
        if entry.action == trailers.FORGET:
            committed.pop(entry.agent, None)
            sources.pop(entry.agent, None)
        elif entry.id is not None:
            sources[entry.agent] = {**sources.get(entry.agent, {}), entry.id: commit.sha}
            highest = max(highest, entry.id)
            if entry.action != trailers.REBUILD:
                committed[entry.agent] = {**committed.get(entry.agent, {}), entry.id: commit.sha}
    known = history.commits.union(fresh)
    return replace(history, commits=known, committed=committed, highest=highest, sources=sources)
