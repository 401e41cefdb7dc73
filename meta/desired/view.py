"""What the meta repo says, as one frozen value, and how each new commit on `main` changes it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meta.git.message import decode
from meta.git.objects import Commit
from meta.model import Candidate, Desired
from meta.names import AgentName, ProposalId, Sha

ACTION, ID, AGENT, SHA, GENERATION, BY = (
    "Hive-Action",
    "Hive-Id",
    "Hive-Agent",
    "Hive-Sha",
    "Hive-Generation",
    "Hive-By",
)
FORGET = "forget"
"""The action that ends what is remembered of an agent's name: its ids may come again."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit on `main`: the system-wide deploy log. `at` in Unix seconds."""

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
    """What the commits on `main` say. `committed`: the commit of each deployed id, from the trailers."""

    commits: frozenset[Sha] = frozenset()
    committed: Mapping[AgentName, Mapping[ProposalId, Sha]] = field(default_factory=dict)
    highest: int = 0


@dataclass(frozen=True, slots=True)
class MetaView:
    """The meta repo at one moment. `history`: all commits of `main`; `highest_id`: the highest id in a trailer."""

    desired: Desired
    committed: Mapping[AgentName, Mapping[ProposalId, Sha]]
    history: frozenset[Sha]
    candidates: Mapping[AgentName, Mapping[ProposalId, Candidate]]
    highest_id: int = 0


def log_entry(commit: Commit) -> LogEntry:
    """A commit as a line of the log. What hive did not write is an `edit`."""
    message = decode(commit.message)
    said = message.trailers
    id = said.get(ID, "")
    return LogEntry(
        commit=commit.sha,
        at=commit.at,
        action=said.get(ACTION, "edit"),
        agent=AgentName(said[AGENT]) if said.get(AGENT) else None,
        id=ProposalId(int(id)) if id.isascii() and id.isdecimal() else None,
        sha=Sha(said[SHA]) if said.get(SHA) else None,
        generation=said.get(GENERATION) or None,
        by=said.get(BY) or None,
        subject=message.subject,
    )


def extend(history: History, commits: Iterable[Commit]) -> History:
    """`history` after more commits, oldest first."""
    fresh: list[Sha] = []
    committed = dict(history.committed)
    highest = history.highest
    for commit in commits:
        fresh.append(commit.sha)
        entry = log_entry(commit)
        if entry.agent is None:
            continue
        if entry.action == FORGET:
            committed.pop(entry.agent, None)
        elif entry.id is not None:
            committed[entry.agent] = {**committed.get(entry.agent, {}), entry.id: commit.sha}
            highest = max(highest, entry.id)
    return replace(history, commits=history.commits.union(fresh), committed=committed, highest=highest)
