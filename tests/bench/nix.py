"""Lock and evaluation of one agent by number of agents: what builder `nix` does between a decision and a build.

Real nix, the stub of nixpkgs, a store of its own per size. The floor is one agent, in turn with the others, so that
all see the same machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.git.message import encode
from meta.git.objects import commit, snapshot
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, Pin, Role
from meta.names import AgentName, ProposalId, Sha
from meta.nix import Nix
from meta.process import sandbox
from reconciler.builders.base import BuildRequest
from reconciler.builders.nix import NixBuilder
from tests.bench.figure import Figure, figure
from tests.reconciler.builders.nix_host import STUB, TOML, NixStore

SIZES = (1, 10, 50, 200)
RUNS = 7
LOCK_DEADLINE = 60.0
WHY = (
    "It is nix's own reading of flake.nix and flake.lock, of every agent's input in each of the two processes: nix 2.8 "
    "takes 0.09 s for 200 inputs, 2.26 less, and meets the aim (HIVE_TEST_NIX). hive's part does not grow. The "
    "stub makes the evaluation itself cheap; that of a real system takes about a second, beside which this is little."
)
CONFIG = Config.model_validate({"nixpkgs": f"path:{STUB}"})


def measure() -> Iterator[Figure]:
    """Nothing where there is no nix."""
    program = shutil.which(os.environ.get("HIVE_TEST_NIX", "nix"))
    if program is None or sandbox.available() is None:
        return
    with ExitStack() as stack:
        hives = {size: stack.enter_context(hive_of(size, Path(program))) for size in SIZES}
        yield from asyncio.run(_all(hives))


async def _all(hives: dict[int, Hive]) -> list[Figure]:
    for hive in hives.values():
        await hive.populate()
    timed: dict[str, dict[int, list[float]]] = {part: {size: [] for size in hives} for part in ("lock", "evaluation")}
    for _ in range(RUNS):
        for size, hive in hives.items():
            lock, evaluation = await hive.deploy()
            timed["lock"][size].append(lock)
            timed["evaluation"][size].append(evaluation)
    both = {size: [sum(pair) for pair in zip(*(part[size] for part in timed.values()), strict=True)] for size in hives}
    made = []
    for size in SIZES:
        name, aim = f"lock + evaluation of one agent of {size}", 2.0 if size > 1 else None
        made.append(figure(name, "ms", both[size], floor=both[1], ratio_at_most=aim, why=WHY))
        made += [figure(f"  its {part}", "ms", runs[size], floor=runs[1]) for part, runs in timed.items()]
    return made


class Hive:
    """A meta repo and applied repos of `size` agents, built by nix."""

    def __init__(self, directory: Path, nix: Nix, size: int) -> None:
        self.layout = Layout(directory / "s", directory / "r")
        self.layout.scratch.mkdir(parents=True)
        self.meta = MetaRepo(self.layout, config=CONFIG, lock_flake=partial(nix.lock, deadline=LOCK_DEADLINE))
        config = CONFIG.model_copy(update={"evaluation_deadline": 30.0})
        self.builder = NixBuilder(self.layout, config, nix, self.meta.repo, partial(Applied, self.layout), "bench")
        self.names = [AgentName(f"a{number}") for number in range(size)]
        self.count = 0

    async def populate(self) -> None:
        """Every agent deployed, and in the lock."""
        await self.meta.create(1)
        entries: dict[AgentName, AgentEntry] = {}
        for number, name in enumerate(self.names):  # each its own commit, as agents have
            pin = await self._commit(name, f"{name} as it began")
            entries[name] = AgentEntry(pin, ContainerSettings(Role.AGENT, CONFIG.uid_start + 65_536 * number))
        await self.meta.main.commit(lambda _: (entries, {}), encode("populate"), 1)
        await self.deploy()

    async def deploy(self) -> tuple[float, float]:
        """The last agent gets a new commit: milliseconds of its candidate (with lock) and of its evaluation."""
        agent = self.names[-1]
        pin = await self._commit(agent, f"{agent} in deploy {self.count}")
        entry = (await self.meta.read()).desired.agents[agent]
        began = time.perf_counter()
        candidate = await self.meta.candidate(
            agent, pin.id, AgentEntry(pin, entry.settings), pin=pin, role=Role.AGENT, by="bench", at=1
        )
        locked = time.perf_counter()
        await self.builder.shown(BuildRequest(agent, pin.id, pin.sha, entry.settings, candidate))
        evaluated = time.perf_counter()
        await self._deployed(agent, pin, candidate)
        return (locked - began) * 1000, (evaluated - locked) * 1000

    async def _commit(self, agent: AgentName, note: str) -> Pin:
        self.count += 1
        applied = Applied(self.layout, agent)
        module = b"{ ... }: { environment.etc.note.text = builtins.readFile ./note; }\n"
        files = {"agent.toml": TOML, "note": note.encode(), "agent.nix": module}
        await applied.create(files, 1)
        tree, objects = snapshot(files, {})
        made = commit(tree, (), note, 2)
        tag = f"refs/tags/proposal/{self.count}"
        await applied.repo.transaction([RefChange(tag, new=made.id, old=ABSENT)], [*objects, made])
        return Pin(ProposalId(self.count), made.id)

    async def _deployed(self, agent: AgentName, pin: Pin, candidate: Sha) -> None:
        await self.meta.repo.transaction([RefChange("refs/heads/main", new=candidate)])
        await self.meta.drop_candidate(agent, pin.id)


@contextmanager
def hive_of(size: int, program: Path) -> Iterator[Hive]:
    """One in a directory of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hb") as name:
        store = NixStore.make(program, Path(name, "nix"))
        try:
            yield Hive(Path(name), store.nix(), size)
        finally:
            store.remove()
