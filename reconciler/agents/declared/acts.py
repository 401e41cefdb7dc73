"""Carry out what was decided about one agent, by the operations that change every other agent, too."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from meta.applied.pinning import Pinning
from meta.applied.source import DECLARED
from meta.consent import Consent, How
from meta.desired.declared_files import DeclaredFiles
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId
from reconciler.agents.declared import text
from reconciler.agents.declared.look import Look
from reconciler.agents.declared.records import Records
from reconciler.agents.lifecycle import Lifecycle
from reconciler.agents.spawn import Spawns
from reconciler.apply.effects import effect
from reconciler.plan.declared import Act, Standing, Verdict
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commands:
    """The operations that every other agent is changed by, too."""

    deploys: Deploys
    proposals: Proposals
    spawns: Spawns
    agents: Lifecycle


class Acts:
    """What does one act of a verdict. Each act can be repeated after a kill."""

    def __init__(self, world: World, commands: Commands, records: Records) -> None:
        self._world = world
        self._commands = commands
        self._records = records

    async def perform(
        self, agent: AgentName, verdict: Verdict, files: DeclaredFiles | None, look: Look, by: str
    ) -> None:
        """Do the act of `verdict`, for the host's generation `by`."""
        match verdict.act:
            case Act.SPAWN if files is not None:
                deploy = await self._commands.spawns.begin(agent, by, files)
                await self._records.remember(agent, digest=files.digest, tried=deploy.id, dropped=False)
            case Act.PROPOSE if files is not None and look.git is not None and look.pin is not None:
                id = await self._propose(agent, files, look, by, verdict)
                await self._records.remember(agent, digest=files.digest, tried=id, dropped=False)
            case Act.APPROVE if verdict.id is not None:
                await self._approve(agent, verdict.id, by)
            case Act.WITHDRAW if verdict.id is not None:
                await self._commands.proposals.deny(verdict.id, by, "nothing declares it any more", agent)
            case Act.START:
                await self._commands.agents.start(agent, by)
                await self._records.remember(agent, dropped=False)
            case Act.STOP:
                await self._commands.agents.stop(agent, by)
                await self._records.remember(agent, dropped=True)
            case Act.FORGET:
                await self._records.forget(agent)
                log.info("%s is declared no more and goes on as git has it, or is gone", agent)
            case _:
                raise AssertionError(f"unreachable: {verdict}")

    async def _propose(
        self, agent: AgentName, files: DeclaredFiles, look: Look, by: str, verdict: Verdict
    ) -> ProposalId:
        """Make a commit on git's with the declared files, and pin it."""
        git, pin = look.git or {}, look.pin
        if pin is None:
            raise AssertionError("unreachable: only an agent in meta gets a proposal")
        applied, old, new = self._world.applied(agent), files.managed(git), files.managed(files.wanted(agent, git))
        subject = f"declared by {by}"
        if verdict.standing is Standing.CONFLICT:
            subject = f"{subject}; conflict: {text.conflict(files, look)}"
        sha, staged = await applied.replace(pin[1], old, new, subject, self._world.now())
        pinning = Pinning(
            DeployKind.APPLY_COMMIT, sha, pin[1], sha, DECLARED, by, description=subject, declared=files.digest
        )
        try:
            return (await self._commands.proposals.pin(agent, pinning, staged=staged)).id
        finally:
            staged.discard()

    async def _approve(self, agent: AgentName, id: ProposalId, by: str) -> None:
        """Approve (A1). The approval is not bound to a preview, because no person was shown one."""
        deploy = await self._commands.deploys.find(id, agent)
        with effect("tag-approved"):
            await self._commands.deploys.move(deploy, TagState.APPROVED, by, consent=Consent(How.DECLARED))
        await self._commands.deploys.publish(agent, id)
