"""The shared inputs on meta's `main`: what is configured, and in each deploy's commit what it was built from."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from meta.config import Config
from meta.desired.flake import shared_urls
from meta.desired.flake_lock import revision
from meta.desired.repo import MetaRepo
from meta.errors import TransientError
from meta.layout import Layout
from meta.model import DeployKind
from meta.names import AgentName, ProposalId, Sha
from tests.meta.deploys import ALICE, BOB, GENERATION, ONE, TWO, make_candidate, sha_of

THREE = ProposalId(3)
_AGENT = re.compile(r'"(agent-\w+)" = \{ url = "([^"]*)"')


async def lock(folder: Path) -> None:
    """Lock as nix does: a node stays while its URL is the same."""
    text, file = (folder / "flake.nix").read_bytes(), folder / "flake.lock"
    old = json.loads(file.read_text())["nodes"] if file.exists() else {}
    urls = {**dict(_AGENT.findall(text.decode())), "nixpkgs": shared_urls(text)[0]}
    nodes = {name: {"original": url, "locked": {"rev": f"rev of {url}"}} for name, url in urls.items()}
    kept = {name: old[name] for name, node in nodes.items() if old.get(name, {}).get("original") == node["original"]}
    root = {"inputs": {name: name for name in nodes}}
    file.write_text(json.dumps({"nodes": {**nodes, **kept, "root": root}, "root": "root", "version": 7}))


def daemon(layout: Layout, nixpkgs: str, lock_flake: Callable[[Path], Awaitable[None]] = lock) -> MetaRepo:
    """The meta repo as a daemon with this setting opens it."""
    return MetaRepo(layout, config=Config.model_validate({"nixpkgs": nixpkgs}), lock_flake=lock_flake)


async def deploy(meta: MetaRepo, agent: AgentName, id: ProposalId, kind: DeployKind = DeployKind.APPLY_COMMIT) -> Sha:
    """Make the candidate and commit it; the commit."""
    await make_candidate(meta, agent, id, sha_of(id))
    return await commit(meta, agent, id, kind)


async def commit(meta: MetaRepo, agent: AgentName, id: ProposalId, kind: DeployKind = DeployKind.APPLY_COMMIT) -> Sha:
    view = await meta.read()
    kind = kind if agent in view.desired.agents else DeployKind.SPAWN
    entry = view.candidates[agent][id].entry
    return await meta.commit_agent(agent, id, entry, kind=kind, generation=GENERATION, by="x", at=1, sha=sha_of(id))


async def nixpkgs(meta: MetaRepo, sha: Sha) -> tuple[str, str]:
    """nixpkgs' URL in flake.nix, and its revision in flake.lock, of one commit."""
    flake, locked = await meta.repo.read(sha, "flake.nix"), await meta.repo.read(sha, "flake.lock")
    assert flake is not None
    return shared_urls(flake)[0], revision(locked, "nixpkgs")


@pytest.fixture
async def on_a(layout: Layout) -> MetaRepo:
    """A meta repo whose agents were deployed on A."""
    meta = daemon(layout, "A")
    await meta.create(at=1)
    await deploy(meta, ALICE, ONE)
    await deploy(meta, BOB, TWO)
    return meta


async def test_a_new_setting_is_locked_on_main_once_and_changes_no_agent(on_a: MetaRepo, layout: Layout) -> None:
    before = (await on_a.read()).desired
    meta = daemon(layout, "B")
    assert not meta.settled
    assert await meta.settle(2)
    after = (await meta.read()).desired
    assert await nixpkgs(meta, after.head) == ("B", "rev of B")
    assert after.agents == before.agents
    assert meta.settled
    assert not await meta.settle(3)
    assert (await meta.log(1))[0].action == "inputs"


async def test_the_commit_of_a_deploy_has_what_it_was_built_from_and_main_what_is_configured(
    on_a: MetaRepo, layout: Layout
) -> None:
    await make_candidate(on_a, ALICE, THREE, sha_of(3))  # and the daemon dies while it builds
    meta = daemon(layout, "B")
    await meta.settle(2)
    deployed = await commit(meta, ALICE, THREE)
    head = (await meta.read()).desired
    assert await nixpkgs(meta, deployed) == ("A", "rev of A")
    assert await nixpkgs(meta, head.head) == ("B", "rev of B")
    assert head.agents[ALICE].pin.id == THREE
    assert (await meta.read()).sources[ALICE][THREE] == deployed
    assert not await meta.settle(3)


async def test_a_commit_before_the_inputs_are_locked_keeps_flake_and_lock_together(
    on_a: MetaRepo, layout: Layout
) -> None:
    async def fails(_: Path) -> None:
        raise TransientError("no network", "wait")

    meta = daemon(layout, "B", fails)
    with pytest.raises(TransientError):
        await meta.settle(2)
    await meta.remove_agent(BOB, purge=False, by="x", at=3)
    assert await nixpkgs(meta, (await meta.read()).desired.head) == ("A", "rev of A")
    assert not meta.settled


async def test_a_candidate_like_an_older_commit_has_its_shared_inputs(on_a: MetaRepo, layout: Layout) -> None:
    older = (await on_a.read()).sources[ALICE][ONE]
    meta = daemon(layout, "B")
    made = await make_candidate(meta, BOB, THREE, sha_of(3))
    assert await nixpkgs(meta, made.commit) == ("B", "rev of B")
    entry = (await meta.read()).desired.agents[ALICE]
    id = ProposalId(4)
    like = await meta.candidate(ALICE, id, entry, pin=entry.pin, role=entry.settings.role, by="x", at=2, like=older)
    assert await nixpkgs(meta, like) == ("A", "rev of A")
    deployed = await commit(meta, ALICE, id, DeployKind.ROLLBACK)
    assert await nixpkgs(meta, deployed) == ("A", "rev of A")
    assert await nixpkgs(meta, (await meta.read()).desired.head) == ("B", "rev of B")


async def test_two_candidates_from_different_inputs_both_keep_theirs(on_a: MetaRepo, layout: Layout) -> None:
    await make_candidate(on_a, ALICE, THREE, sha_of(3))
    meta, four = daemon(layout, "B"), ProposalId(4)
    await make_candidate(meta, BOB, four, sha_of(4))
    first, second = await asyncio.gather(commit(meta, BOB, four), commit(meta, ALICE, THREE))
    assert (await nixpkgs(meta, first))[0] == "B"
    assert (await nixpkgs(meta, second))[0] == "A"
    view = await meta.read()
    assert await nixpkgs(meta, view.desired.head) == ("B", "rev of B")
    assert {name: entry.pin.id for name, entry in view.desired.agents.items()} == {ALICE: THREE, BOB: four}


async def test_a_rebuild_on_newer_inputs_is_recorded_and_is_no_deploy(on_a: MetaRepo, layout: Layout) -> None:
    before = await on_a.read()
    assert not await on_a.note_rebuild(ALICE, ONE, generation=GENERATION, by="x", at=2)
    assert (await on_a.read()).desired.head == before.desired.head, "the inputs are the same"
    meta = daemon(layout, "B")
    await meta.settle(3)
    assert await meta.note_rebuild(ALICE, ONE, generation=GENERATION, by="x", at=4)
    view = await meta.read()
    assert (await nixpkgs(meta, view.sources[ALICE][ONE]))[0] == "B"
    assert (await nixpkgs(meta, view.sources[BOB][TWO]))[0] == "A"
    assert view.committed == before.committed
    assert await MetaRepo(layout).read() == view, "a new daemon reads the same from git"


async def test_a_rebuild_of_an_id_that_is_not_pinned_any_more_is_not_recorded(on_a: MetaRepo, layout: Layout) -> None:
    await deploy(on_a, ALICE, THREE)
    meta = daemon(layout, "B")
    await meta.settle(2)
    before = await meta.read()
    assert not await meta.note_rebuild(ALICE, ONE, generation=GENERATION, by="x", at=3)
    assert await meta.read() == before


async def test_a_change_of_main_by_hand_is_put_right(on_a: MetaRepo, layout: Layout) -> None:
    meta = daemon(layout, "B")
    await meta.settle(2)
    settled = (await meta.read()).desired.head
    other = daemon(layout, "C")
    await other.settle(3)
    assert await meta.settle(4)
    assert await nixpkgs(meta, (await meta.read()).desired.head) == await nixpkgs(meta, settled)
