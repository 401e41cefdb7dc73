"""What is recorded when a commit becomes a proposal."""

from __future__ import annotations

from dataclasses import dataclass

from meta.applied.source import Source
from meta.model import DeployKind
from meta.names import Sha


@dataclass(frozen=True, slots=True)
class Pinning:
    """A commit to pin as `proposal/<id>`, with what its tag records.

    `base`: what the agent had when it was proposed, None before the first deploy. `commit_ref`: the commit as it was
    asked for.
    """

    kind: DeployKind
    sha: Sha
    base: Sha | None
    commit_ref: str
    source: Source
    by: str
    description: str = ""
