"""The facts that are recorded when a commit becomes a proposal."""

from __future__ import annotations

from dataclasses import dataclass

from meta.applied.source import Source
from meta.model import DeployKind
from meta.names import ProposalId, Sha


@dataclass(frozen=True, slots=True)
class Pinning:
    """A commit to pin as `proposal/<id>`, with the facts that its tag records.

    `base`: the newest deployed commit at that time, None before the first deploy. `commit_ref`: the commit as the
    proposer named it. `rebased`: the id whose commits hive replayed to make this one. `declared`: the digest of the
    declaration that it was made for.
    """

    kind: DeployKind
    sha: Sha
    base: Sha | None
    commit_ref: str
    source: Source
    by: str
    description: str = ""
    rebased: ProposalId | None = None
    declared: str = ""
