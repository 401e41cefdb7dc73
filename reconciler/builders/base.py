"""How a commit becomes a generation: the protocol that every builder obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from meta.approval import Binding
from meta.model import ContainerSettings, Generation
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.nix.summary import Summary


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Build `agent` as the commit `candidate` of the meta repo has it (its pin is `sha`, under proposal `id`)."""

    agent: AgentName
    id: ProposalId
    sha: Sha
    settings: ContainerSettings
    candidate: Sha


@dataclass(frozen=True, slots=True)
class Preview:
    """What a commit would become, without building it: what an approval is bound to, and what a person should see."""

    shown: Binding
    summary: Summary


class Builder(Protocol):
    """One way to build. `previews`: it can say before an approval what a build would give."""

    name: str
    previews: bool

    async def check(self, agent: AgentName, sha: Sha) -> None:
        """The mistakes in a commit's own files that show without a candidate, an evaluation or a build.

        BuildFailed as `build` would say it.
        """

    async def revision(self, head: Sha) -> str:
        """The hive revision that a build of the meta commit `head` records."""

    async def preview(self, request: BuildRequest) -> Preview:
        """What would be built. Nothing is built; fails as `build` does. Only where `previews` is true."""

    async def shown(self, request: BuildRequest) -> Binding:
        """The part of `preview` that an approval is bound to; cheaper. Only where `previews` is true."""

    async def build(self, request: BuildRequest) -> Generation:
        """The generation, with a gc root for `request.id`. The same request gives the same generation.

        Raises BuildFailed with the log's tail; TransientError for a full disk or a lost daemon.
        """

    def built(self, agent: AgentName) -> Mapping[ProposalId, Generation]:
        """What each rooted id was built into, where that is whole. No process is started."""

    async def prune(
        self,
        agent: AgentName,
        keep: frozenset[GenerationId],
        roots: frozenset[ProposalId],
        ended: frozenset[ProposalId] = frozenset(),
    ) -> None:
        """Drop the roots of other ids than `roots`, then old generations by count; never one in `keep`.

        What only ids in `ended` (denied, failed) were built into goes at once.
        """

    async def forget(self, agent: AgentName) -> None:
        """Drop everything that was built for a purged agent."""
