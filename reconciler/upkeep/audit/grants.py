"""Every host that was allowed for a time, from the commits of meta's branch `run`: who, until when, and its end.

A grant in run.json that no commit gave in hive's own words is a fault: somebody wrote the branch by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from meta.desired import trailers
from meta.desired.reader import RUN
from meta.git.message import decode
from meta.git.objects import Commit
from meta.git.repo import GitRepo
from meta.model import NetworkGrant, RunEntry
from meta.names import AgentName
from reconciler.store.events.log import EventRow
from reconciler.upkeep.audit.rules import FAULT, Finding

_GIVEN = (trailers.NETWORK_ALLOW, trailers.NETWORK_REVOKE)


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule that the operator allowed an agent. Times are Unix seconds. `revoked`: when it was taken back."""

    agent: str
    rule: str
    until: int
    by: str
    at: int
    request: int | None = None
    revoked: int | None = None
    revoked_by: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request for a host that gave no grant. `by` is "" if the agent's configuration allows it."""

    agent: str
    id: int
    rule: str
    decision: str
    at: int
    by: str = ""
    reason: str = ""


def answers_of(events: Iterable[EventRow]) -> tuple[Answer, ...]:
    """Return the answers that events record, oldest first. Pure."""
    return tuple(_answer(event) for event in events)


async def read_grants(repo: GitRepo) -> tuple[Grant, ...]:
    """Return every grant, oldest first."""
    tip = repo.ref(RUN)
    return tuple(grants_of(reversed(await repo.log(tip)))) if tip is not None else ()


def grants_of(commits: Iterable[Commit]) -> list[Grant]:
    """Return the grants of commits, oldest first. Pure."""
    grants: list[Grant] = []
    for commit in commits:
        values = decode(commit.message).trailers
        action, agent, rule = (values.get(key, "") for key in (trailers.ACTION, trailers.AGENT, trailers.RULE))
        if action not in _GIVEN or not agent or (action == trailers.NETWORK_ALLOW and not rule):
            continue
        by = values.get(trailers.BY, "")
        grants = [_ended(grant, commit.at, by) if _same(grant, agent, rule) else grant for grant in grants]
        if action == trailers.NETWORK_ALLOW:
            until, request = _number(values.get(trailers.UNTIL, "")), _number(values.get(trailers.REQUEST, ""))
            grants.append(Grant(agent, rule, until or 0, by, commit.at, request))
    return grants


def grant_findings(run: Mapping[AgentName, RunEntry], grants: Iterable[Grant]) -> Iterator[Finding]:
    """Report the grants in run.json that no commit gave."""
    given = {(grant.agent, grant.rule, grant.until, grant.by) for grant in grants if grant.revoked is None}
    for agent, entry in sorted(run.items()):
        for grant in entry.grants:
            if (agent, grant.rule, grant.until, grant.by) not in given:
                yield Finding(FAULT, "grant", agent, None, _unknown(grant))


def _answer(event: EventRow) -> Answer:
    id, data = event.data.get("id"), event.data
    rule, by, reason = (str(data.get(key) or "") for key in ("rule", "by", "reason"))
    decision = "denied" if event.kind == "network_denied" else "covered"
    return Answer(event.agent or "", id if isinstance(id, int) else 0, rule, decision, int(event.at), by, reason)


def _same(grant: Grant, agent: str, rule: str) -> bool:
    """Return True if a commit about `rule` is about the grant. Without a rule it is about all of the agent."""
    return grant.revoked is None and grant.agent == agent and rule in ("", grant.rule)


def _ended(grant: Grant, at: int, by: str) -> Grant:
    return grant if grant.until <= at else replace(grant, revoked=at, revoked_by=by)


def _unknown(grant: NetworkGrant) -> str:
    return f"{grant.rule} is allowed until {grant.until}, and no commit of the branch `run` allowed that"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
