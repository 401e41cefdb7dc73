"""A state directory as a daemon leaves it, made without one: meta, alice with a deployed id, a database with events."""

from __future__ import annotations

from pathlib import Path

from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.model import DeployKind, Pin, Role, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.events import log

ALICE = AgentName("alice")
ONE = ProposalId(1)
BY = "operator uid 1000"
AT = 1_700_000_000


async def make(directory: Path, ids: int = 1) -> Layout:
    """Make the directory: spawn alice, then deploy `ids` more ids, each approved by BY."""
    layout = Layout(directory / "s", directory / "r")
    layout.state.mkdir(mode=0o711, parents=True)
    layout.scratch.mkdir()
    layout.owner.write_text("0" * 32, encoding="ascii")
    meta, applied = MetaRepo(layout), Applied(layout, ALICE)
    await meta.create(AT)
    seed = await applied.create({"agent.toml": b"", "agent.nix": b"{ }"}, AT)
    async with await Database.open(layout.database) as database:
        cards = Cards(database, clock=lambda: AT)
        await database.write(lambda c: log.append(c, AT, "daemon_started", None, {}))
        await deploy(meta, applied, cards, 0, seed, DeployKind.SPAWN)
        for id in range(1, ids + 1):
            await deploy(meta, applied, cards, id, seed, DeployKind.APPLY_COMMIT)
    return layout


async def deploy(meta: MetaRepo, applied: Applied, cards: Cards, id: int, sha: Sha, kind: DeployKind) -> None:
    """Take one id from its proposal to its end."""
    which = ProposalId(id)
    await propose(applied, id, sha, kind)
    await project(cards, applied)
    await applied.transition(which, TagState.APPROVED, by=BY, at=AT, seen=sha)
    await project(cards, applied)
    await applied.transition(which, TagState.BUILDING, by="hive", at=AT)
    await commit(meta, id, sha, kind)
    head = (await meta.read()).desired.head
    await applied.deployed(which, by="hive", at=AT, meta_commit=head, unproven=False, seed=False)
    await project(cards, applied)


async def project(cards: Cards, applied: Applied) -> None:
    """Write the cards and events that follow from the tags."""
    await cards.project(ALICE, await applied.deploys(), applied.stamp() or "")


async def propose(applied: Applied, id: int, sha: Sha, kind: DeployKind = DeployKind.APPLY_COMMIT) -> None:
    """Write the first tag of an id."""
    await applied.propose(
        ProposalId(id), Pinning(kind, sha, None, commit_ref="", source=Source.parse("test"), by=BY), at=AT
    )


async def commit(meta: MetaRepo, id: int, sha: Sha, kind: DeployKind) -> None:
    """Make the candidate and the commit on meta main."""
    which, pin = ProposalId(id), Pin(ProposalId(id), sha)
    entry = (await meta.read()).desired.agents.get(ALICE)
    await meta.candidate(ALICE, which, entry, pin=pin, role=Role.AGENT, by=BY, at=AT)
    entry = (await meta.read()).candidates[ALICE][which].entry
    await meta.commit_agent(ALICE, which, entry, kind=kind, generation="0" * 20, by=BY, at=AT, sha=sha)
    await meta.drop_candidate(ALICE, which)


async def propose_edit(applied: Applied, id: int) -> Sha:
    """Propose a commit that the repo did not have before; return it."""
    main = await applied.main()
    assert main is not None
    sha, staged = await applied.edit(main, "agent.toml", f'label = "{id}"\n'.encode(), "edit", AT)
    pinning = Pinning(DeployKind.APPLY_COMMIT, sha, main, commit_ref=sha, source=Source.parse("test"), by=BY)
    await applied.propose(ProposalId(id), pinning, AT, staged)
    return sha
