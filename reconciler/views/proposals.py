"""The values about proposals: cards, and branches that are none yet."""

from __future__ import annotations

from dataclasses import dataclass

from meta.model import DeployKind
from meta.names import AgentName, ProposalId


@dataclass(frozen=True, slots=True)
class Card:
    """One approval as the operator sees it; a projection of the id's tags.

    `status` is one of pending, approved, denied, failed (the words of the wire). `state` is the furthest tag.
    `commit_ref` is as the proposer wrote it (empty for a spawn); `fetched_sha` is set after a fetch. The fields after
    `source` are not stored but read when a card is shown: `branch` if the proposal came from a branch (of the push repo
    or the work tree), `sha` (also of a spawn), `decided_by` if the card is not pending any more, and `stale` if the
    proposal cannot be deployed any more: how to rebase it; `rebased_from` if hive made the commit by replaying that id;
    `runtime` of a spawn that waits or goes on, if its agent.toml can be read.
    `merges_left_out` is in the answer to `hive rebase` only: merge commits are not replayed. `model_override` is the
    model that the operator set for the agent, which hides the one in agent.toml. `consent` is what stands behind the
    approval: "passkey", "root without passkey", "declared", "command", or "" if only a click or `hive approve`.
    """

    id: ProposalId
    agent: AgentName
    kind: DeployKind
    commit_ref: str
    fetched_sha: str | None
    requested_at: int
    status: str
    state: str
    resolved_at: int | None = None
    note: str | None = None
    description: str | None = None
    proposed_by: str | None = None
    approved_by: str | None = None
    source: str | None = None
    branch: str | None = None
    sha: str | None = None
    decided_by: str | None = None
    stale: str | None = None
    rebased_from: ProposalId | None = None
    runtime: str | None = None
    merges_left_out: int = 0
    model_override: str | None = None
    consent: str = ""


@dataclass(frozen=True, slots=True)
class RefusedTip:
    """A branch whose commit was refused. `source` is as in a tag, `by` its author, `remedy` the author's next step."""

    agent: AgentName
    source: str
    branch: str
    commit: str
    by: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class WaitingTips:
    """Branches of an agent that become proposals only later. `reason`: the limit that holds them back, and its end."""

    agent: AgentName
    reason: str
