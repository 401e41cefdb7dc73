"""A deploy as the daemon makes it in the meta repo, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from meta.desired.repo import MetaRepo
from meta.model import (
    Candidate,
    DeployKind,
    Pin,
    Role,
)
from meta.names import AgentName, ProposalId, Sha

Git = Callable[..., str]
ALICE, BOB = AgentName("alice"), AgentName("bob")
ONE, TWO = ProposalId(1), ProposalId(2)
MAIN = "refs/heads/main"
GENERATION = "a" * 20


def sha_of(number: int) -> Sha:
    return Sha(f"{number:040x}")


async def make_candidate(meta: MetaRepo, agent: AgentName, id: ProposalId, sha: Sha) -> Candidate:
    entry = (await meta.read()).desired.agents.get(agent)
    changed = replace(entry, pin=Pin(id, sha)) if entry else None
    await meta.candidate(agent, id, changed, pin=Pin(id, sha), role=Role.AGENT, by="hive", at=2000)
    return (await meta.read()).candidates[agent][id]


async def make_deploy(
    meta: MetaRepo, agent: AgentName, id: ProposalId, kind: DeployKind | None = None, at: int = 3000
) -> Sha:
    """Deploy a commit; the first one of an agent is its spawn."""
    sha = sha_of(id + 1)
    known = agent in (await meta.read()).desired.agents
    kind = kind or (DeployKind.APPLY_COMMIT if known else DeployKind.SPAWN)
    candidate = await make_candidate(meta, agent, id, sha)
    done = await meta.commit_agent(
        agent, id, candidate.entry, kind=kind, generation=GENERATION, by="ann", at=at, sha=sha
    )
    await meta.drop_candidate(agent, id)
    return done
