"""The meta repo: the one commit point, and no commit of another is ever lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from meta.config import Config
from meta.desired.changes import Entering
from meta.desired.repo import MetaRepo
from meta.errors import BadInput, Conflict, NotFound, PermanentError
from meta.git.repo import GitRepo
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.model import (
    AgentEntry,
    ContainerSettings,
    DeployKind,
    Pin,
    Role,
)
from meta.names import AgentName, ProposalId, Sha
from tests.meta.deploys import ALICE, BOB, GENERATION, MAIN, ONE, TWO, Git, make_candidate, make_deploy, sha_of


# making and reading
async def test_a_new_meta_repo_wants_nobody(meta: MetaRepo, layout: Layout, git: Git) -> None:
    view = await meta.read()
    assert (view.desired.agents, view.desired.run, view.committed, view.candidates) == ({}, {}, {}, {})
    assert view.history == {view.desired.head}
    assert sorted(path.name for path in layout.meta.iterdir()) == [".git", "agents.json", "flake.nix"]
    assert git(layout.meta_git, "fsck", "--strict") == ""


@pytest.mark.parametrize("lost", [("refs/heads/run",), (MAIN, "refs/heads/run"), ()])
async def test_making_it_again_completes_what_a_kill_cut_short(meta: MetaRepo, lost: tuple[str, ...]) -> None:
    await meta.repo.transaction([RefChange(ref, new=Sha("0" * 40)) for ref in lost])
    await meta.create(at=1000)
    assert set(meta.repo.refs(["refs/heads"])) == {MAIN, "refs/heads/run"}
    await meta.read()


async def test_without_a_repo_reading_names_it(layout: Layout) -> None:
    meta = MetaRepo(layout)
    assert meta.stamp() is None
    with pytest.raises(NotFound, match="there is no meta repo"):
        await meta.read()


async def test_reading_with_nothing_changed_starts_no_process_and_gives_the_same(
    meta: MetaRepo, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_deploy(meta, ALICE, ONE)
    before = await meta.read()

    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(GitRepo, "_execute", refuse)
    assert await meta.read() is before


async def test_a_new_daemon_reads_what_the_old_one_knew(meta: MetaRepo, layout: Layout) -> None:
    await make_deploy(meta, ALICE, ONE)
    await meta.set_run(ALICE, lambda run: replace(run, restarts=3), by="ann", at=1)
    await make_candidate(meta, ALICE, TWO, sha_of(9))
    assert await MetaRepo(layout).read() == await meta.read()


async def test_other_agents_entries_are_not_decoded_again(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    before = (await meta.read()).desired.agents[ALICE]
    await make_deploy(meta, BOB, TWO)
    assert (await meta.read()).desired.agents[ALICE] is before


# deploys
async def test_a_candidate_is_head_with_one_change_beside_main(meta: MetaRepo, git: Git) -> None:
    head = (await meta.read()).desired.head
    candidate = await make_candidate(meta, ALICE, ONE, sha_of(7))
    assert meta.repo.ref(MAIN) == head
    assert (await meta.read()).desired.agents == {}
    assert git(meta.repo.path, "rev-parse", f"{candidate.commit}^") == head
    assert candidate.entry == AgentEntry(
        Pin(ONE, sha_of(7)), ContainerSettings(Role.AGENT, Config.model_validate({}).uid_start)
    )
    assert f"rev={sha_of(7)}" in (await meta.repo.read(candidate.commit, "flake.nix")).decode()


async def test_the_commit_of_a_deploy_is_told_by_its_trailers(meta: MetaRepo, layout: Layout) -> None:
    done = await make_deploy(meta, ALICE, ONE)
    view = await meta.read()
    assert view.desired.head == done
    assert view.desired.agents[ALICE].pin == Pin(ONE, sha_of(2))
    assert (view.committed, view.candidates, view.highest_id) == ({ALICE: {ONE: done}}, {}, 1)
    entry, first = await meta.log()
    assert (entry.action, entry.agent, entry.id, entry.sha) == ("spawn", ALICE, ONE, sha_of(2))
    assert (entry.generation, entry.by, entry.at, entry.commit) == (GENERATION, "ann", 3000, done)
    assert (first.action, first.agent) == ("create", None)
    assert json.loads((layout.meta / "agents.json").read_text())["agents"]["alice"]["pin"]["id"] == 1


async def test_committing_again_is_the_same_commit(meta: MetaRepo) -> None:
    done = await make_deploy(meta, ALICE, ONE)
    await make_deploy(meta, BOB, TWO)
    assert await make_deploy(meta, ALICE, ONE) == done
    assert len(await meta.log()) == 3


async def test_a_candidate_from_before_does_not_undo_what_others_committed(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    old = await make_candidate(meta, ALICE, ProposalId(3), sha_of(4))
    await make_deploy(meta, BOB, TWO)
    await meta.commit_agent(
        ALICE, ProposalId(3), old.entry, kind=DeployKind.ROLLBACK, generation=GENERATION, by="x", at=1, sha=sha_of(4)
    )
    agents = (await meta.read()).desired.agents
    assert (agents[ALICE].pin.id, agents[BOB].pin.id) == (3, 2)
    assert (await meta.log(1))[0].action == "rollback"


async def test_commits_at_once_by_several_daemons_lose_nothing(layout: Layout, meta: MetaRepo) -> None:
    names = [AgentName(f"a{number}") for number in range(8)]
    writers = [meta, MetaRepo(layout), MetaRepo(layout)]
    entries = {
        name: AgentEntry(
            Pin(ProposalId(number), sha_of(number)), ContainerSettings(Role.AGENT, 600_000 + number * 65_536)
        )
        for number, name in enumerate(names)
    }

    async def one(number: int, name: AgentName) -> None:
        await writers[number % 3].commit_agent(
            name,
            ProposalId(number),
            entries[name],
            kind=DeployKind.SPAWN,
            generation=GENERATION,
            by="x",
            at=1,
            sha=sha_of(number),
        )

    await asyncio.gather(*(one(number, name) for number, name in enumerate(names)))
    view = await meta.read()
    assert view.desired.agents == entries
    assert len(view.history) == 9
    assert {name: list(ids) for name, ids in view.committed.items()} == {
        name: [number] for number, name in enumerate(names)
    }


async def test_a_commit_by_hand_meanwhile_stays(meta: MetaRepo, git: Git, tmp_path: Path) -> None:
    await make_deploy(meta, ALICE, ONE)
    work = tmp_path / "work"
    git(tmp_path, "clone", "-q", str(meta.repo.path), str(work))
    (work / "notes.md").write_text("mine\n")
    git(work, "add", ".")
    git(work, "commit", "-qm", "notes")
    git(work, "push", "-q", "origin", "HEAD:main")
    await make_deploy(meta, BOB, TWO)
    view = await meta.read()
    assert await meta.repo.read(view.desired.head, "notes.md") == b"mine\n"
    assert [entry.action for entry in await meta.log()] == ["spawn", "edit", "spawn", "create"]


async def test_a_meta_restored_from_an_old_backup_forgets_what_came_after(meta: MetaRepo) -> None:
    first = await make_deploy(meta, ALICE, ONE)
    second = await make_deploy(meta, ALICE, TWO)
    await meta.repo.transaction([RefChange(MAIN, new=first, old=second)])
    view = await meta.read()
    assert (view.desired.head, view.committed) == (first, {ALICE: {ONE: first}})
    assert second not in view.history


async def test_an_agents_json_that_hive_does_not_understand_is_named(meta: MetaRepo, git: Git, tmp_path: Path) -> None:
    before = await meta.read()
    content = git(meta.repo.path, "hash-object", "-w", "--stdin", stdin='{"version": 1, "agents": {"x": {"pin": 3}}}')
    tree = git(meta.repo.path, "mktree", stdin=f"100644 blob {content}\tagents.json\n")
    made = git(meta.repo.path, "commit-tree", tree, "-p", before.desired.head, "-m", "oops")
    git(meta.repo.path, "update-ref", MAIN, made)
    with pytest.raises(BadInput, match=r"agents\.json: agents\.x\.pin"):
        await meta.read()
    git(meta.repo.path, "update-ref", MAIN, before.desired.head)
    assert (await meta.read()).desired == before.desired


# the files
async def test_the_exported_files_are_mended(meta: MetaRepo, layout: Layout) -> None:
    await make_deploy(meta, ALICE, ONE)
    file = layout.meta / "agents.json"
    good = file.read_bytes()
    file.write_text("edited")
    await meta.export()
    assert file.read_bytes() == good


async def test_a_deploy_stands_even_if_its_files_cannot_be_exported(
    meta: MetaRepo, layout: Layout, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, files: Mapping[str, bytes]) -> None:
        raise PermanentError(f"cannot write {sorted(files)} to {folder}")

    monkeypatch.setattr("meta.desired.repo.write_files", refuse)
    done = await make_deploy(meta, ALICE, ONE)
    assert meta.repo.ref(MAIN) == done
    assert "cannot write the files of meta for the manager" in caplog.text


async def test_the_lock_of_a_candidate_is_committed_for_its_agent_alone(layout: Layout) -> None:
    calls = 0

    async def lock(folder: Path) -> None:
        nonlocal calls
        calls += 1
        agents = json.loads((folder / "agents.json").read_text())["agents"]
        nodes = {f"agent-{name}": {"locked": {"rev": f"{entry['pin']['sha']}"}} for name, entry in agents.items()}
        content = {"nodes": {**nodes, "root": {"inputs": {name: name for name in nodes}}}, "root": "root", "version": 7}
        (folder / "flake.lock").write_text(json.dumps(content))

    meta = MetaRepo(layout, lock_flake=lock)
    await meta.create(at=1)
    await make_deploy(meta, ALICE, ONE)
    old = await make_candidate(meta, ALICE, ProposalId(3), sha_of(4))
    await make_deploy(meta, BOB, TWO)
    await meta.commit_agent(
        ALICE,
        ProposalId(3),
        old.entry,
        kind=DeployKind.APPLY_COMMIT,
        generation=GENERATION,
        by="x",
        at=1,
        sha=sha_of(4),
    )
    nodes = json.loads((layout.meta / "flake.lock").read_text())["nodes"]
    assert {name: node["locked"]["rev"] for name, node in nodes.items() if name != "root"} == {
        "agent-alice": sha_of(4),
        "agent-bob": sha_of(3),
    }
    assert calls == 3
    await meta.remove_agent(ALICE, purge=False, by="x", at=1)
    assert "agent-alice" not in (layout.meta / "flake.lock").read_text()


async def test_a_deploy_of_an_agent_that_was_destroyed_meanwhile_is_not_committed(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    late = await make_candidate(meta, ALICE, TWO, sha_of(3))
    await meta.remove_agent(ALICE, purge=False, by="x", at=1)
    with pytest.raises(Conflict, match="does not exist"):
        await meta.commit_agent(
            ALICE, TWO, late.entry, kind=DeployKind.APPLY_COMMIT, generation=GENERATION, by="x", at=1, sha=sha_of(3)
        )
    assert ALICE in (await meta.read()).desired.tombstones


async def test_a_deploy_moves_the_pin_and_nothing_else_of_the_entry(meta: MetaRepo) -> None:
    await make_deploy(meta, ALICE, ONE)
    late = await make_candidate(meta, ALICE, TWO, sha_of(3))
    await meta.adopt(ALICE, None, disown=frozenset({ProposalId(9)}), by="x", at=1)
    await meta.commit_agent(
        ALICE, TWO, late.entry, kind=DeployKind.APPLY_COMMIT, generation=GENERATION, by="x", at=1, sha=sha_of(3)
    )
    entry = (await meta.read()).desired.agents[ALICE]
    assert entry.pin.id == TWO
    assert entry.disowned == frozenset({ProposalId(9)})


async def test_agents_of_an_older_hive_are_entered_in_one_commit_with_one_lock(layout: Layout, git: Git) -> None:
    locked: list[str] = []

    async def lock(folder: Path) -> None:
        locked.append((folder / "flake.nix").read_text(encoding="utf-8"))
        (folder / "flake.lock").write_text('{"nodes": {}}', encoding="utf-8")

    meta = MetaRepo(layout, lock_flake=lock)
    await meta.create(1)
    one = Entering(Pin(ProposalId(0), Sha("1" * 40)), Role.AGENT, frozenset({ProposalId(7)}))
    two = Entering(Pin(ProposalId(0), Sha("2" * 40)), Role.AGENT, frozenset({ProposalId(9)}))
    before = (await meta.read()).desired.head
    head = await meta.enter({ALICE: one, BOB: two}, by="hive", at=2)
    assert git(layout.meta_git, "rev-list", f"{before}..{head}").split() == [head]
    assert len(locked) == 1
    assert "agent-alice" in locked[0]
    assert "agent-bob" in locked[0]
    assert (layout.meta / "flake.lock").read_text(encoding="utf-8") == '{"nodes": {}}'
    agents = (await meta.read()).desired.agents
    assert agents[ALICE].settings.uid_base != agents[BOB].settings.uid_base
    assert agents[ALICE].disowned == {7}
    assert agents[BOB].disowned == {9}
    assert await meta.take_id() == 10
    assert await meta.enter({ALICE: two}, by="hive", at=3) == head
