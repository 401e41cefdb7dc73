"""Spawn: a deploy of an agent's first commit, at once or after the operator's approval."""

from __future__ import annotations

from dataclasses import dataclass

from meta.agent_toml import seed
from meta.agent_toml.runtimes import runtime_name
from meta.agent_toml.settings import SETTINGS_FILE
from meta.applied.pinning import Pinning
from meta.applied.source import DECLARED, Source, SourceKind
from meta.consent import Consent, How
from meta.desired.declared_files import DeclaredFiles
from meta.errors import BadInput, Conflict, NotFound
from meta.git.packs import StagedPack
from meta.model import Deploy, DeployKind, Desired, Role, TagState
from meta.names import MANAGER, AgentName, ProposalId, Sha
from meta.proposed.settings import read_settings
from reconciler.apply.effects import effect
from reconciler.proposals.deploys import Deploys
from reconciler.world import World

_SPAWNED = Source.of(SourceKind.SPAWN)


@dataclass(frozen=True, slots=True)
class _First:
    """The commit that a spawn deploys. `staged` has its objects, unless the repo has them."""

    sha: Sha
    source: Source
    staged: StagedPack | None = None


class Spawns:
    """The commands that create agents."""

    def __init__(self, world: World, deploys: Deploys) -> None:
        self._world = world
        self._deploys = deploys

    async def begin(
        self, name: AgentName, by: str, declared: DeclaredFiles | None = None, start: seed.Start | None = None
    ) -> Deploy:
        """Create an agent without an approval: deploy its seed, approved at once. The first such deploy has id 0.

        The seed has the files that are `declared`, unless an earlier agent of this name left its repo. It begins with
        `start`; None: with the runtime of the settings. Raise Conflict if an earlier agent left another `start`.
        """
        if start is not None:
            start.check()
        desired = await self._deploys.desired()
        if name in desired.agents:
            raise Conflict(f"an agent named {name} already exists", "choose another name, or `hive rebuild` it")
        _check_not_owed(desired, name)
        deploys = {deploy.id: deploy for deploy in await self._deploys.of(name)}
        if any(deploy.state in (TagState.APPROVED, TagState.BUILDING) for deploy in deploys.values()):
            raise Conflict(f"{name} is being spawned already", f"see `hive plan {name}`")
        first = (
            await self._declared_seed(name, declared)
            if declared is not None
            else _First(await self._seed(name, start), _SPAWNED)
        )
        zero = deploys.get(ProposalId(0))
        if zero is None or zero.state is TagState.PROPOSAL:
            id = ProposalId(0)
        else:
            with effect("take-id"):
                id = await self._deploys.take_id()
        if id not in deploys:
            digest = declared.digest if declared is not None else ""
            pinning = Pinning(DeployKind.SPAWN, first.sha, None, "", first.source, by, declared=digest)
            with effect("tag-spawn"):
                await self._world.applied(name).propose(id, pinning, self._world.now(), first.staged)
        with effect("approve-spawn"):
            consent = Consent(How.DECLARED if declared is not None else How.COMMAND)
            at = self._world.now()
            await self._world.applied(name).transition(id, TagState.APPROVED, by=by, at=at, consent=consent)
        return await self._deploys.publish(name, id)

    async def request(self, name: AgentName, by: str, description: str = "") -> Deploy:
        """Ask the operator to approve a new agent.

        If an agent of that name exists, the approval will fail. A tombstone of that name is allowed.
        """
        desired = await self._deploys.desired()
        _check_not_owed(desired, name)
        for deploy in await self._deploys.of(name):
            if deploy.kind is DeployKind.SPAWN and deploy.state is TagState.PROPOSAL and deploy.id > 0:
                return deploy
        sha = await self._seed(name)
        if name in desired.tombstones:
            kept = f"goes on with the kept repos and state of the destroyed agent {name}"
            description = f"{description}\n({kept})" if description else kept
        with effect("take-id"):
            id = await self._deploys.take_id()
        pinning = Pinning(
            DeployKind.SPAWN,
            sha,
            None,
            commit_ref="",
            source=Source.of(SourceKind.SEED),
            by=by,
            description=description,
        )
        with effect("tag-spawn"):
            await self._world.applied(name).propose(id, pinning, self._world.now())
        return await self._deploys.project(name, id)

    async def _seed(self, name: AgentName, start: seed.Start | None = None) -> Sha:
        """Return the commit that a spawn deploys: that of an earlier agent of this name, else the seed."""
        applied = self._world.applied(name)
        main = await applied.main() if applied.stamp() is not None else None
        if main is not None:
            if start is not None:
                await self._require(name, main, start)
            return main
        with effect("seed"):
            return await applied.create(self._template(name, start), self._world.now())

    async def _require(self, name: AgentName, main: Sha, start: seed.Start) -> None:
        """Raise Conflict if what an earlier agent of this name left does not begin with `start`."""
        try:
            settings = await read_settings(await self._world.applied(name).read(main, SETTINGS_FILE))
            kept = seed.Start(settings.runtime, settings.model)
        except (BadInput, NotFound):
            kept = None
        if kept is None or start.runtime != kept.runtime or start.model not in (None, kept.model):
            raise Conflict(
                f"an earlier {name} left its repo, which has another runtime or model",
                f"`hive spawn {name}` without them, then `hive edit {name}`; or `hive destroy {name} --purge` first",
            )

    def _template(self, name: AgentName, start: seed.Start | None = None) -> dict[str, bytes]:
        role, config = Role.MANAGER if name == MANAGER else Role.AGENT, self._world.config
        runtime = config.manager_runtime if role is Role.MANAGER else config.default_runtime
        return seed.files(name, role, start or seed.Start(runtime_name(runtime)))

    async def _declared_seed(self, name: AgentName, declared: DeclaredFiles) -> _First:
        """Return the first commit of a declared agent. A kept repo goes on as it is, and is compared afterwards."""
        applied = self._world.applied(name)
        if applied.stamp() is not None and (main := await applied.main()) is not None:
            return _First(main, _SPAWNED)
        wanted = declared.wanted(name, self._template(name))
        with effect("seed"):
            sha = await applied.create(wanted, self._world.now())
        present = {path: file.data for path, file in (await applied.files(sha)).items()}
        if present == wanted:
            return _First(sha, DECLARED)
        # an earlier spawn of that name failed: its seed stays below what is declared now
        sha, staged = await applied.replace(sha, present, wanted, f"declared files of {name}", self._world.now())
        return _First(sha, DECLARED, staged)


def _check_not_owed(desired: Desired, name: AgentName) -> None:
    """Raise Conflict while an earlier agent of this name is still being purged."""
    grave = desired.tombstones.get(name)
    if grave is not None and grave.purge:
        raise Conflict(f"{name} is being purged", f"wait until `hive plan {name}` is empty, then try again")
