"""What a daemon makes around the containers, made by its own code: the repos, the listening sockets. And a canary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.sockets.listener import Bound, bind
from meta.agent_toml import seed
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, DeployKind, Pin, Role, TagState
from meta.names import MANAGER, AgentName, ProposalId, Sha
from meta.proposed import work_tree
from reconciler.privileged.values import HARNESS_UID
from tests.systemd.inside.conftest import UID_BASES, NixosHost

ALICE, BOB = AgentName("alice"), AgentName("bob")
FIRST, SECOND = ProposalId(0), ProposalId(1)
ROOT, HELPER = "given by root", "given by the helper"
CANARY = Path("/etc/hive-canary")
SECRET = "c0ffee-of-the-host"


@contextmanager
def guarded_canary() -> Iterator[None]:
    """A file that only the host's root may read; it must be the same afterwards."""
    CANARY.write_text(SECRET)
    CANARY.chmod(0o600)
    yield
    assert (CANARY.read_text(), CANARY.stat().st_uid, CANARY.stat().st_mode & 0o7777) == (SECRET, 0, 0o600)
    CANARY.unlink()


@contextmanager
def listening(layout: Layout) -> Iterator[None]:
    """The operator's sockets and those of alice and bob, made as the daemon makes them."""
    bound: list[Bound] = [bind(path, exclusive=True) for path in (layout.host_socket, layout.http_socket)]
    try:
        for agent in (ALICE, BOB):
            bound += [bind(path, UID_BASES[agent]) for path in (layout.mcp_socket(agent), layout.harness_socket(agent))]
        yield
    finally:
        for one in bound:
            one.remove()


async def lock(folder: Path) -> None:
    """In the place of `nix flake lock`."""
    agents = json.loads((folder / "agents.json").read_text())["agents"]
    nodes = {f"agent-{name}": {"locked": {"rev": entry["pin"]["sha"]}} for name, entry in agents.items()}
    content = {"nodes": {**nodes, "root": {"inputs": {name: name for name in nodes}}}, "root": "root", "version": 7}
    (folder / "flake.lock").write_text(json.dumps(content))


async def deploy(applied: Applied, id: ProposalId, commit: Sha, base: Sha | None) -> None:
    """Take a commit through its tags to `deployed/<id>`."""
    kind = DeployKind.SPAWN if base is None else DeployKind.APPLY_COMMIT
    await applied.propose(id, Pinning(kind, commit, base, commit_ref="", source=Source.parse("seed"), by="t"), at=1)
    for state in (TagState.APPROVED, TagState.BUILDING):
        await applied.transition(id, state, by="t", at=1)
    await applied.deployed(id, by="t", at=1, meta_commit=commit, unproven=False, seed=base is None)


async def make_repos(host: NixosHost, how: str) -> Sha:
    """meta, applied and proposed of alice, by hive's own code; returns what is deployed."""
    layout = host.layout
    for path in (layout.state / "applied", layout.state / "proposed", layout.scratch):
        path.mkdir(parents=True, exist_ok=True)
    meta = MetaRepo(layout, config=Config(), lock_flake=lock)
    await meta.create(1)
    applied = Applied(layout, ALICE)
    commit = await applied.create(seed.files(ALICE, Role.AGENT), 1)
    await deploy(applied, FIRST, commit, None)
    pin, settings = Pin(FIRST, commit), ContainerSettings(Role.AGENT, UID_BASES[ALICE])
    await meta.candidate(ALICE, FIRST, None, pin=pin, role=Role.AGENT, by="t", at=1)
    await meta.commit_agent(
        *(ALICE, FIRST, AgentEntry(settings=settings, pin=pin)),
        kind=DeployKind.SPAWN,
        generation="0" * 20,
        by="t",
        at=1,
        sha=commit,
    )
    owner = UID_BASES[MANAGER] + HARNESS_UID if how == ROOT else None
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), owner)
    if how == HELPER:
        await host.backend.own_proposed(ALICE, ContainerSettings(Role.MANAGER, UID_BASES[MANAGER]))
    return commit
