"""Edits of an agent's settings: agent.toml as it is, and a proposal of another one.

hive opens no file that an agent can write. The text comes from the applied repo, and an edit is a commit that hive
makes there itself, on top of `applied/main`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from meta.agent_toml.settings import SETTINGS_FILE
from meta.applied.pinning import Pinning
from meta.applied.source import Source, SourceKind
from meta.desired.declared_files import NIX_FILE
from meta.errors import BadInput, Conflict, NotFound, Occupied
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha, commit_id
from meta.proposed.settings import read_settings
from reconciler.network.check import check_reach
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.views import SettingsText
from reconciler.world import World

EDITED = Source.of(SourceKind.EDIT, SETTINGS_FILE)
"""The source of a proposal made by an edit. A newer edit supersedes it."""
SUBJECT = "edit agent.toml"


class SettingsEdit:
    """Reads agent.toml for an edit, and proposes the edited one."""

    def __init__(self, world: World, deploys: Deploys, proposals: Proposals) -> None:
        self._world = world
        self._deploys = deploys
        self._proposals = proposals
        self._proposing = asyncio.Lock()

    async def text(self, agent: AgentName, at: str | None = None) -> SettingsText:
        """Return agent.toml as it is deployed, or as it is in the id or commit `at`, with agent.nix beside it."""
        await self._deploys.entry(agent)
        deploys, main = await self._deploys.of(agent), await self._deploys.main(agent)
        sha = await self._deploys.resolve(agent, deploys, at) if at else main
        text = await self._world.applied(agent).read(sha, SETTINGS_FILE)
        module = await self._module(agent, sha)
        try:
            return SettingsText(agent=agent, base=main, sha=sha, text=text.decode(), module=module)
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{SETTINGS_FILE} of {sha[:12]} is not UTF-8", "mend it in a clone, and push that"
            ) from error

    async def _module(self, agent: AgentName, sha: Sha) -> str:
        """Return agent.nix of a commit, "" if there is none."""
        try:
            return (await self._world.applied(agent).read(sha, NIX_FILE)).decode(errors="replace")
        except NotFound:
            return ""

    async def propose(
        self,
        agent: AgentName,
        by: str,
        text: str,
        description: str = "",
        base: str | None = None,
        replaces: ProposalId | None = None,
    ) -> Deploy:
        """Commit `text` as agent.toml on top of `applied/main`, in hive's own repo, and propose that commit.

        Raise BadInput for a text that is not valid or changes nothing, Refused for one beyond the operator's ceiling.
        Raise Conflict if `base`, the commit that the text was made from, is no longer the newest. Raise Occupied if an
        edit still waits and is not `replaces`; otherwise the new one supersedes it.
        """
        check_reach(await read_settings(text.encode()), self._world.network)
        await self._deploys.entry(agent)
        async with self._proposing:  # of two edits at once the second finds the first
            check_place(agent, await self._deploys.of(agent), replaces)
            return await self._propose(agent, by, text, description, base, replaces)

    async def _propose(
        self, agent: AgentName, by: str, text: str, description: str, base: str | None, replaces: ProposalId | None
    ) -> Deploy:
        main = await self._deploys.main(agent)
        if base is not None and commit_id(base) != main:
            raise Conflict(
                f"{agent} has another commit by now: {main[:12]}, the edit began from {base[:12]}",
                f"look at it with `hive diff {agent}`, then edit again",
            )
        applied, subject = self._world.applied(agent), description or SUBJECT
        if await applied.read(main, SETTINGS_FILE) == text.encode():
            raise BadInput(f"{SETTINGS_FILE} of {agent} already has this text", "change it first")
        # a staged pack, which git does not see: a daemon that dies here leaves no visible change
        sha, staged = await applied.edit(main, SETTINGS_FILE, text.encode(), subject, self._world.now())
        pinning = Pinning(DeployKind.APPLY_COMMIT, sha, main, commit_ref=sha, source=EDITED, by=by, description=subject)
        try:
            return await self._proposals.pin(
                agent, pinning, staged=staged, check=lambda deploys: check_place(agent, deploys, replaces)
            )  # again: a replay can have taken the place meanwhile
        finally:
            staged.discard()


def check_place(agent: AgentName, deploys: Iterable[Deploy], replaces: ProposalId | None) -> None:
    """Raise Occupied if an edit of `agent` waits whose place is not to be taken. Pure."""
    pending = [deploy for deploy in deploys if deploy.state is TagState.PROPOSAL]
    waiting = [deploy for deploy in pending if deploy.source == str(EDITED) and deploy.id != replaces]
    if not waiting:
        return
    last = waiting[-1]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.requested_at))
    raise Occupied(
        f"the edit of {agent} by {last.proposed_by} at {when}, proposal {last.id}, still waits, and yours would take "
        "its place",
        f"`hive diff {last.id}` shows it, `hive edit {agent} --from {last.id}` goes on from it, "
        f"`hive edit {agent} --replace {last.id}` takes its place",
    )
