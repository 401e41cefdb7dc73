"""Follow the declaration of the host's configuration: through the same tags, builds and gates as everything else.

Each look does, for each agent, one act that `plan.declared.decide` names, until there is none left. Nothing of that is
kept in a process: a daemon that dies after an act goes on with the next one (docs/decisions/0017-declared-agents.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from meta.desired import declaration
from meta.desired.declaration import Declaration
from meta.errors import HiveError, TransientError
from meta.names import AgentName
from reconciler.agents.declared import text
from reconciler.agents.declared.acts import Acts, Commands
from reconciler.agents.declared.look import Looks
from reconciler.agents.declared.records import Records
from reconciler.common.rounds import Rounds, describe
from reconciler.loop.loop import Reconciler
from reconciler.observe.declared import DeclaredMemory, DeclaredRecord
from reconciler.plan.declared import Act, Standing, decide
from reconciler.store.events import keys
from reconciler.store.record import Record
from reconciler.world import World

log = logging.getLogger(__name__)
TICK = 2.0
"""Seconds between two looks at the file. Each is one stat while it stays the same."""
ACTS_MOST = 8
"""Acts for one agent in one look. Three are usual."""


class Declared:
    """The declared agents of one daemon. Without a file to follow `look` does nothing."""

    def __init__(
        self,
        world: World,
        loop: Reconciler,
        commands: Commands,
        store: Record[dict[str, DeclaredRecord]],
        memory: DeclaredMemory,
        rounds: Rounds,
    ) -> None:
        self._world = world
        self._deploys = commands.deploys
        self._records = Records(store)
        self._looks = Looks(world, commands.deploys)
        self._acts = Acts(world, commands, self._records)
        self._memory = memory
        self._rounds = rounds
        self._path = Path(world.config.declared) if world.config.declared else None
        self._stamp: tuple[int, ...] | None = None
        self._failed: object = None
        self._again = False
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
            calm = not self._again and not self._rounds.failures
            due = now + self._world.config.resync if now >= due and calm else due
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
            stamp = declaration.stamp(self._path)
            try:
                if await self._read(self._path, stamp) or all:
                    await self._follow()
            except HiveError as error:
                self._fail(error, stamp)
            else:
                self._failed = None
                self._rounds.succeed()

    def _fail(self, error: HiveError, stamp: tuple[int, ...] | None) -> None:
        """Report that no agent is followed: once for each change of the file or of the error, not for each look."""
        failed = (stamp, describe(error))
        if failed != self._failed:
            self._failed = failed
            log.error("the declaration is not followed as a whole: %s", error.describe())
            self._rounds.fail(error)

    async def _read(self, path: Path, stamp: tuple[int, ...] | None) -> bool:
        """Read the file if it changed, or a module outside the nix store did. Return True if so."""
        if self._declaration is not None and stamp == self._stamp:
            modules = self._declaration.modules
            if not modules or not await asyncio.to_thread(self._declaration.modules_changed):
                return False
        if self._declaration is None:  # nobody may destroy them, even if the file turns out to be unusable
            records = await self._records.all()
            self._memory.declare(frozenset(name for name, record in records.items() if not record.dropped))
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
        agents = frozenset({*declared.names, *await self._records.all()})
        self._memory.keep(agents)
        self._again = False
        for agent in sorted(agents):
            if agent in declared.broken:
                self._memory.show(agent, Standing.BROKEN, text.unusable(declared.broken[agent]))
                continue
            try:
                if self._done.get(agent) != await self._key(agent):
                    self._done[agent] = await self._settle(agent, declared)
            except HiveError as error:
                self._again = True
                if self._memory.fail(agent, text.not_followed(error)):
                    log.error("the declaration of %s is not followed: %s", agent, error.describe())
            else:
                self._memory.fail(agent, "")

    async def _key(self, agent: AgentName) -> object:
        """Return a value that changes whenever git, the tags or the run state of an agent do."""
        desired = await self._deploys.desired()
        await self._world.observer.refresh(agent)
        return desired.agents.get(agent), desired.run_of(agent).state, self._world.observer.stamp(agent)

    async def _settle(self, agent: AgentName, declared: Declaration) -> object:
        """Do act by act what is to be done about one agent now. Return the key of the state that was decided about."""
        files = declared.agents.get(agent)
        for _ in range(ACTS_MOST):
            key = await self._key(agent)  # before the look: what changes during it is looked at again
            record = await self._records.of(agent)
            look = await self._looks.at(agent, files, record)
            verdict = decide(look.facts)
            if verdict.act is Act.NOTHING:
                await self._records.note(agent, files, record, look, verdict)
                self._memory.show(agent, verdict.standing, text.condition(agent, verdict, record))
                return key
            await self._acts.perform(agent, verdict, files, look, declared.by)
        raise TransientError(f"{agent}: the declaration asks for more than {ACTS_MOST} acts at once", "wait")
