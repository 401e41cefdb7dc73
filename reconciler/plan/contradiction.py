"""Whether the tags of an id and meta contradict each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set

from meta.model import Deploy, TagState
from meta.names import AgentName, ProposalId, Sha


def contradicts_meta(
    deploy: Deploy, history: Set[Sha], committed: Mapping[AgentName, Mapping[ProposalId, Sha]]
) -> bool:
    """Return True if only the tags say deployed, or if they say failed or denied and meta has the commit.

    `history` is all commits of meta's `main`; `committed` are the ids that one of them deploys.
    """
    if deploy.state is TagState.DEPLOYED:
        return deploy.meta_commit is not None and deploy.meta_commit not in history
    ended = deploy.state in (TagState.FAILED, TagState.DENIED)
    return ended and deploy.id in committed.get(deploy.agent, {})
