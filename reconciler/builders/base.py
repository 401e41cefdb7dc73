"""The protocol of every builder, which turns a commit into a generation."""

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
    """A request to build `agent` as the meta commit `candidate` has it: pinned to `sha`, under proposal `id`."""

    agent: AgentName
    id: ProposalId
    sha: Sha
    settings: ContainerSettings
    candidate: Sha


@dataclass(frozen=True, slots=True)
class Preview:
    """The preview of a commit: the binding for an approval, and a summary for the operator. Nothing is built."""

    shown: Binding
    summary: Summary


class Builder(Protocol):
    """One way to build. `previews`: it can show before an approval what a build would give."""

    name: str
    previews: bool

    async def check(self, agent: AgentName, sha: Sha) -> None:
        """Check a commit's own files without a candidate, an evaluation or a build.

        Raise the BuildFailed that `build` would raise.
        """

    async def revision(self, head: Sha) -> str:
        """Return the hive revision that a build of the meta commit `head` records."""

    async def nixpkgs(self, head: Sha) -> str:
        """Return the revision of nixpkgs that a build of the meta commit `head` records; "" if it uses none."""

    async def modules(self, head: Sha) -> str:
        """Return the revision of the modules for every agent in the meta commit `head`; "" if there are none."""

    async def preview(self, request: BuildRequest) -> Preview:
        """Return what would be built. Raise the same errors as `build`. Only called if `previews` is true."""

    async def shown(self, request: BuildRequest) -> Binding:
        """Return the part of `preview` that an approval is bound to.

        This costs less. Only called if `previews` is true.
        """

    async def build(self, request: BuildRequest) -> Generation:
        """Build and return the generation, with a gc root for `request.id`. The same request gives the same generation.

        Raise BuildFailed with the last lines of the log, TransientError for a full disk or a lost nix daemon.
        """

    async def reuse(self, request: BuildRequest, target: ProposalId) -> bool:
        """Root the generation of the id `target` for `request` as well, as a rollback to it needs; build nothing.

        Return False if that generation is gone, is damaged or was built for other container settings.
        """

    async def intact(self, generation: Generation) -> bool:
        """Return True if `generation` can be started as it was built. If not, `built` lacks it until it is built again.

        This may read all its files, but starts no process.
        """

    def built(self, agent: AgentName) -> Mapping[ProposalId, Generation]:
        """Return the generation of each rooted id, if the generation is complete. Start no process."""

    async def prune(
        self,
        agent: AgentName,
        keep: frozenset[GenerationId],
        roots: frozenset[ProposalId],
        ended: frozenset[ProposalId] = frozenset(),
    ) -> None:
        """Drop the roots of ids that are not in `roots`.

        Then drop the oldest generations beyond a number, but none in `keep`. Generations of `ended` ids only (denied,
        failed) are dropped at once.
        """

    async def forget(self, agent: AgentName) -> None:
        """Drop everything that was built for a purged agent."""
