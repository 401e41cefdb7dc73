"""Follow the declaration of the host's configuration: through the same tags, builds and gates as everything else.

Each look does, for each agent, one act that `plan.declared.decide` names, until there is none left. Nothing of that is
kept in a process: a daemon that dies after an act goes on with the next one (docs/decisions/0017-declared-agents.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from meta.applied.pinning import Pinning
from meta.applied.source import DECLARED, SourceKind
from meta.desired import declaration
from meta.desired.declaration import Declaration
from meta.desired.declared_files import DeclaredFiles
from meta.errors import BadInput, HiveError, TransientError
from meta.model import Deploy, DeployKind, RunState, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.text import one_line
from reconciler.agents.lifecycle import Lifecycle
from reconciler.agents.spawn import Spawns
from reconciler.apply.effects import effect
from reconciler.common.rounds import Rounds, describe
from reconciler.loop.loop import Reconciler
from reconciler.observe.declared import DeclaredMemory, Remembered
from reconciler.plan.declared import ABOUT, IN_FLIGHT, Act, Facts, Git, Offer, Standing, Verdict, base_of, decide
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.kept import first_source
from reconciler.store.events import keys
from reconciler.store.record import Record
from reconciler.world import World

log = logging.getLogger(__name__)
TICK = 2.0
"""Seconds between two looks at the file. Each is one stat while it stays the same."""
ACTS_MOST = 8
"""Acts for one agent in one look. Three are usual."""
NAMED = 5
"""Files that a text names."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The operations that every other agent is changed by, too."""

    deploys: Deploys
    proposals: Proposals
    spawns: Spawns
    agents: Lifecycle


@dataclass(frozen=True, slots=True)
class _Look:
    """One agent at one moment. `git` are the files that meta pins, `base` those at which both last agreed."""

    facts: Facts
    pin: tuple[ProposalId, Sha] | None = None
    git: Mapping[str, bytes] | None = None
    base: Mapping[str, bytes] | None = None


class Declared:
    """The declared agents of one daemon. Without a `path` nothing is declared, and nothing is done."""

    def __init__(
        self,
        world: World,
        loop: Reconciler,
        commands: Commands,
        store: Record[dict[str, Remembered]],
        memory: DeclaredMemory,
        rounds: Rounds,
    ) -> None:
        self._world = world
        self._commands = commands
        self._store = store
        self._memory = memory
        self._rounds = rounds
        self._path = Path(world.config.declared) if world.config.declared else None
        self._stamp: tuple[int, ...] | None = None
        self._declaration: Declaration | None = None
        self._done: dict[AgentName, object] = {}
        self._turned = asyncio.Event()
        self._lock = asyncio.Lock()
        if self._path is not None:
            loop.on_turn(self._turned.set)

    @property
    def configured(self) -> bool:
        """True if there is a file to follow."""
        return self._path is not None

    async def run(self) -> None:
        """Look whenever the file changes or an agent has nothing more to do, until cancelled."""
        due = float("-inf")
        while True:
            self._turned.clear()
            now = time.monotonic()
            await self.look(all=now >= due)
            due = now + self._world.config.resync if now >= due and not self._rounds.failures else due
            try:
                async with asyncio.timeout(TICK):
                    await self._turned.wait()
                due = float("-inf")
            except TimeoutError:
                continue

    async def look(self, *, all: bool = True) -> None:
        """Read the file if it changed, and do what follows for each agent. Never raise HiveError.

        Unless `all`, do nothing while the file stays the same.
        """
        if self._path is None:
            return
        async with self._lock:
            try:
                if await self._read(self._path) or all:
                    await self._follow()
            except HiveError as error:
                if self._rounds.error != describe(error):
                    log.error("the declaration is not followed as a whole: %s", error.describe())
                self._rounds.fail(error)
            else:
                self._rounds.succeed()

    async def _read(self, path: Path) -> bool:
        """Read the file if it changed. Return True if it did."""
        stamp = declaration.stamp(path)
        if self._declaration is not None and stamp == self._stamp:
            return False
        if self._declaration is None:  # nobody may destroy them, even if the file turns out to be unusable
            records = await self._store.load()
            self._memory.declare(frozenset(AgentName(name) for name, each in records.items() if not each.dropped))
        read = await asyncio.to_thread(declaration.read, path)
        self._declaration, self._stamp = read, stamp
        self._memory.declare(read.names)
        self._done.clear()
        facts = {"by": read.by, "agents": sorted(read.names), "unusable": dict(read.broken)}
        await self._world.events.append("agents_declared", None, facts, key=keys.declared(read.digest, read.by))
        log.info("%s declares %d agents", read.by, len(read.names))
        return True

    async def _follow(self) -> None:
        declared = self._declaration
        if declared is None:
            return
        records = await self._store.load()
        faults: list[str] = []
        for agent in sorted({*declared.names, *map(AgentName, records)}):
            if agent in declared.broken:
                why = f"{ABOUT} declares what cannot be used: {declared.broken[agent]}"
                self._memory.show(agent, Standing.BROKEN, why)
                faults.append(f"{agent}: {why}")
                continue
            try:
                if self._done.get(agent) != await self._key(agent):
                    self._done[agent] = await self._settle(agent, declared)
            except HiveError as error:
                faults.append(f"{agent}: {error.describe()}")
        if faults:
            raise BadInput("; ".join(faults))

    async def _key(self, agent: AgentName) -> object:
        """Return a value that changes whenever git, the tags or the run state of an agent do."""
        desired = await self._commands.deploys.desired()
        await self._world.observer.refresh(agent)
        return desired.agents.get(agent), desired.run_of(agent).state, self._world.observer.stamp(agent)

    async def _settle(self, agent: AgentName, declared: Declaration) -> object:
        """Do act by act what is to be done about one agent now. Return the key of the state that was decided about."""
        files = declared.agents.get(agent)
        for _ in range(ACTS_MOST):
            key = await self._key(agent)  # before the look: what changes during it is looked at again
            record = (await self._store.load()).get(agent)
            look = await self._see(agent, files, record)
            verdict = decide(look.facts)
            if verdict.act is Act.NOTHING:
                await self._note(agent, files, record, look, verdict)
                self._memory.show(agent, verdict.standing, self._text(agent, verdict, look, record))
                return key
            await self._act(agent, verdict, files, look, declared.by)
        raise TransientError(f"{agent}: the declaration asks for more than {ACTS_MOST} acts at once", "wait")

    # looking
    async def _see(self, agent: AgentName, files: DeclaredFiles | None, record: Remembered | None) -> _Look:
        desired, deploys = await self._commands.deploys.desired(), await self._commands.deploys.of(agent)
        entry, grave = desired.agents.get(agent), desired.tombstones.get(agent)
        base_sha = base_of(_declared(deploys), record.agreement if record is not None else None)
        git = await self._files(agent, entry.pin.sha) if entry is not None else None
        base = await self._base(agent, base_sha) if entry is not None and base_sha is not None else None
        tried = None
        if files is not None and record is not None and record.digest == files.digest and record.tried is not None:
            tried = next((deploy.state for deploy in deploys if deploy.id == record.tried), None)
        facts = Facts(
            declared=files is not None,
            git=None,
            known=record is not None,
            dropped=record is not None and record.dropped,
            busy=any(deploy.state in IN_FLIGHT for deploy in deploys),
            purging=grave is not None and grave.purge,
            tried=tried,
            offers=tuple([await self._offer(agent, deploy, files) for deploy in deploys if _is_offer(deploy)]),
        )
        if entry is None or git is None:
            return _Look(facts)
        running = desired.run_of(agent).state is RunState.RUNNING
        seen = _compare(agent, files, git, base, Git(entry.pin.sha, running))
        return _Look(replace(facts, git=seen), (entry.pin.id, entry.pin.sha), git, base)

    async def _offer(self, agent: AgentName, deploy: Deploy, files: DeclaredFiles | None) -> Offer:
        content = await self._files(agent, deploy.sha)
        same = files is not None and files.wanted(agent, content) == content
        return Offer(deploy.id, deploy.state, deploy.base, same)

    async def _base(self, agent: AgentName, sha: Sha) -> Mapping[str, bytes] | None:
        """Return the files of the base; None if it went with an earlier agent of that name."""
        return await self._files(agent, sha) if await self._world.applied(agent).has(sha) else None

    async def _files(self, agent: AgentName, sha: Sha) -> Mapping[str, bytes]:
        return {path: file.data for path, file in (await self._world.applied(agent).files(sha)).items()}

    # acting
    async def _act(self, agent: AgentName, verdict: Verdict, files: DeclaredFiles | None, look: _Look, by: str) -> None:
        match verdict.act:
            case Act.SPAWN if files is not None:
                deploy = await self._commands.spawns.begin(agent, by, files)
                await self._remember(agent, digest=files.digest, tried=deploy.id, dropped=False)
            case Act.PROPOSE if files is not None and look.git is not None and look.pin is not None:
                id = await self._propose(agent, files, look, by, verdict)
                await self._remember(agent, digest=files.digest, tried=id, dropped=False)
            case Act.APPROVE if verdict.id is not None:
                await self._approve(agent, verdict.id, by)
            case Act.WITHDRAW if verdict.id is not None:
                await self._commands.proposals.deny(verdict.id, by, "nothing declares it any more", agent)
            case Act.START:
                await self._commands.agents.start(agent, by)
                await self._remember(agent, dropped=False)
            case Act.STOP:
                await self._commands.agents.stop(agent, by)
                await self._remember(agent, dropped=True)
            case Act.FORGET:
                await self._forget(agent)
            case _:
                raise AssertionError(f"unreachable: {verdict}")

    async def _propose(
        self, agent: AgentName, files: DeclaredFiles, look: _Look, by: str, verdict: Verdict
    ) -> ProposalId:
        """Make a commit on git's with the declared files, and pin it."""
        git, pin = look.git or {}, look.pin
        if pin is None:
            raise AssertionError("unreachable: only an agent in meta gets a proposal")
        applied, old, new = self._world.applied(agent), files.managed(git), files.managed(files.wanted(agent, git))
        subject = f"declared by {by}"
        if verdict.standing is Standing.CONFLICT:
            subject = f"{subject}; conflict: {self._conflict(files, look)}"
        sha, staged = await applied.replace(pin[1], old, new, subject, self._world.now())
        pinning = Pinning(
            DeployKind.APPLY_COMMIT, sha, pin[1], commit_ref=sha, source=DECLARED, by=by, description=subject
        )
        try:
            return (await self._commands.proposals.pin(agent, pinning, staged=staged)).id
        finally:
            staged.discard()

    def _conflict(self, files: DeclaredFiles, look: _Look) -> str:
        """Return what conflicts, for the card."""
        git = files.managed(look.git or {})
        if look.base is None:
            return "git has this agent already, with other files. Approve to take the declared ones, deny to keep git's"
        base = files.managed(look.base)
        moved = sorted(path for path in {*git, *base} if git.get(path) != base.get(path))
        return (
            f"git changed {_some(moved)} since both last agreed. Approve to take the declared files, deny to keep git's"
        )

    async def _approve(self, agent: AgentName, id: ProposalId, by: str) -> None:
        """A1, not bound to a preview: nobody was shown one."""
        deploy = await self._commands.deploys.find(id, agent)
        with effect("tag-approved"):
            await self._commands.deploys.move(deploy, TagState.APPROVED, by)
        await self._commands.deploys.publish(agent, id)

    # remembering
    async def _note(
        self, agent: AgentName, files: DeclaredFiles | None, record: Remembered | None, look: _Look, verdict: Verdict
    ) -> None:
        """Remember where both stand, once there is nothing to do."""
        if files is None:
            return
        after = replace(record or Remembered(), digest=files.digest)
        if verdict.standing is Standing.AGREES and look.pin is not None:
            after = replace(after, agreed_id=look.pin[0], agreed=look.pin[1])
        if record is not None and record.digest != files.digest:
            after = replace(after, tried=verdict.id)
        if after != record:
            await self._save(agent, after)

    async def _remember(
        self, agent: AgentName, *, dropped: bool, digest: str | None = None, tried: int | None = None
    ) -> None:
        record = (await self._store.load()).get(agent) or Remembered()
        if digest is not None:
            record = replace(record, digest=digest, tried=tried)
        await self._save(agent, replace(record, dropped=dropped))

    async def _save(self, agent: AgentName, record: Remembered) -> None:
        with effect("remember-declared"):
            await self._store.save({**await self._store.load(), agent: record})

    async def _forget(self, agent: AgentName) -> None:
        records = dict(await self._store.load())
        records.pop(agent, None)
        with effect("remember-declared"):
            await self._store.save(records)

    # showing
    def _text(self, agent: AgentName, verdict: Verdict, look: _Look, record: Remembered | None) -> str:
        """Return what an operator should know, "" if all is well."""
        tried = record.tried if record is not None else None
        match verdict.standing:
            case Standing.GIT_MOVED:
                return (
                    f"{ABOUT} declares something else than git has by now: `hive history {agent}` shows what changed "
                    "it; a change of the declaration asks which one shall be"
                )
            case Standing.CONFLICT:
                id = verdict.id if verdict.id is not None else tried
                return (
                    f"{ABOUT} and git both changed it: `hive diff {id}`, then approve {id} to take what is declared, "
                    "or deny it to keep what git has"
                )
            case Standing.DENIED:
                return f"{ABOUT} declares what was denied ({tried}); a change of it is proposed again"
            case Standing.FAILED:
                return f"{ABOUT} declares what failed ({tried}): see `hive history {agent}`"
            case Standing.REMOVED:
                return (
                    f"{ABOUT} declares it no more, so it was stopped: `hive destroy {agent}` removes it, "
                    f"`hive start {agent}` keeps it"
                )
            case _:
                return ""


def _compare(
    agent: AgentName,
    files: DeclaredFiles | None,
    git: Mapping[str, bytes],
    base: Mapping[str, bytes] | None,
    seen: Git,
) -> Git:
    if files is None:
        return seen
    return replace(
        seen,
        agrees=files.wanted(agent, git) == git,
        unchanged=base is not None and files.wanted(agent, base) == base,
        moved=base is None or files.managed(git) != files.managed(base),
    )


def _declared(deploys: Iterable[Deploy]) -> list[Deploy]:
    """Return the deploys whose files a declaration brought. A rollback to one of them is a decision of its own."""
    deploys = list(deploys)
    return [
        deploy
        for deploy in deploys
        if deploy.kind is not DeployKind.ROLLBACK and first_source(deploy, deploys).kind is SourceKind.DECLARED
    ]


def _is_offer(deploy: Deploy) -> bool:
    pending = deploy.state is TagState.PROPOSAL and deploy.kind is DeployKind.APPLY_COMMIT
    return pending and deploy.source == str(DECLARED)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return one_line(f"{', '.join(names[:NAMED])}{more}")
