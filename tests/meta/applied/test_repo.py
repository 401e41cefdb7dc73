"""The applied repo of one agent: its tags are the log of each id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.errors import Conflict, Damaged, NotFound, TransientError
from meta.git.repo import GitRepo
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

Git = Callable[..., str]
Child = Callable[[Sha, str], Sha]
ALICE = AgentName("alice")
META = Sha("5" * 40)
ZERO, ONE, TWO = ProposalId(0), ProposalId(1), ProposalId(2)


async def _propose(applied: Applied, id: ProposalId, sha: Sha, kind: DeployKind = DeployKind.APPLY_COMMIT) -> None:
    pinning = Pinning(
        kind,
        sha,
        base=await applied.main(),
        commit_ref=sha[:8],
        source=Source.parse("proposed/config"),
        by="manager",
        description="a better alice\n\nHive-By: operator",
    )
    await applied.propose(id, pinning, at=2000)


async def _building(applied: Applied, id: ProposalId, sha: Sha, kind: DeployKind = DeployKind.APPLY_COMMIT) -> None:
    await _propose(applied, id, sha, kind)
    await applied.transition(id, TagState.APPROVED, by="operator uid 0", at=2001, seen=sha)
    await applied.transition(id, TagState.BUILDING, by="hive", at=2002)


async def _deploy(applied: Applied, id: ProposalId, sha: Sha, kind: DeployKind = DeployKind.APPLY_COMMIT) -> None:
    await _building(applied, id, sha, kind)
    await applied.deployed(id, by="hive", at=2003, meta_commit=META, unproven=False, seed=kind is DeployKind.SPAWN)


async def _one(applied: Applied, id: ProposalId) -> Deploy:
    return next(deploy for deploy in await applied.deploys() if deploy.id == id)


@pytest.fixture
async def seed(applied: Applied) -> Sha:
    """The seed commit of alice's repo."""
    found = await applied.seed()
    assert found is not None
    return found


@pytest.fixture
async def spawned(applied: Applied, seed: Sha) -> Applied:
    """alice, deployed with id 0."""
    await _deploy(applied, ZERO, seed, DeployKind.SPAWN)
    return applied


async def test_an_edit_is_a_sound_commit_that_changes_one_file_and_no_ref(
    applied: Applied, seed: Sha, git: Git
) -> None:
    refs = git(applied.repo.path, "for-each-ref")
    made, staged = await applied.edit(seed, "agent.toml", b'label = "new"\n', "a new label\n\nbecause", 3000)
    assert not await applied.has(made)
    staged.place(ONE)
    before, after = await applied.files(seed), await applied.files(made)
    assert after["agent.toml"].data == b'label = "new"\n'
    assert {path: at for path, at in after.items() if path != "agent.toml"} == {
        path: at for path, at in before.items() if path != "agent.toml"
    }
    assert git(applied.repo.path, "log", "-1", "--format=%P %s", made).split("\n")[0].strip() == f"{seed} a new label"
    assert git(applied.repo.path, "for-each-ref") == refs
    assert "error" not in git(applied.repo.path, "fsck", "--strict", made)


# making
async def test_a_new_repo_has_its_seed_and_neither_main_nor_tags(applied: Applied, seed: Sha, git: Git) -> None:
    assert await applied.main() is None
    assert await applied.deploys() == ()
    assert (await applied.files(seed))["prompts/system.md"].data == b"be kind\n"
    assert git(applied.repo.path, "fsck", "--strict") == ""


async def test_making_it_again_gives_the_first_seed(applied: Applied, seed: Sha) -> None:
    assert await applied.create({"agent.nix": b"other"}, at=9999) == seed


async def test_the_seed_depends_on_files_and_time_alone(layout: Layout) -> None:
    files = {"agent.nix": b"{ }\n"}
    one = await Applied(layout, ALICE).create(files, at=1)
    again = replace(layout, state=layout.state.parent / "other")
    assert await Applied(again, ALICE).create(files, at=1) == one


async def test_without_a_repo_there_is_no_stamp_and_nothing_to_read(layout: Layout) -> None:
    applied = Applied(layout, ALICE)
    assert applied.stamp() is None
    assert await applied.main() is None
    assert await applied.deploys() == ()


# an id from proposal to its end
async def test_a_proposal_says_who_what_and_why(applied: Applied, seed: Sha) -> None:
    await _propose(applied, ONE, seed)
    assert await applied.deploys() == (
        Deploy(
            agent=ALICE,
            id=ONE,
            kind=DeployKind.APPLY_COMMIT,
            state=TagState.PROPOSAL,
            sha=seed,
            base=None,
            commit_ref=seed[:8],
            source="proposed/config",
            description="a better alice\n\nHive-By: operator",
            requested_at=2000,
            proposed_by="manager",
            by="manager",
        ),
    )


async def test_each_end_of_an_id_is_told_by_its_tag(applied: Applied, seed: Sha) -> None:
    for number in (1, 2, 3, 4):
        await _propose(applied, ProposalId(number), seed)
    await applied.transition(ONE, TagState.DENIED, by="operator", reason="not now", at=3000)
    for number in (2, 3, 4):
        await applied.transition(ProposalId(number), TagState.APPROVED, by="ann", at=3000)
    await applied.transition(ProposalId(3), TagState.FAILED, by="ann", reason="cancelled", at=3001)
    await applied.transition(ProposalId(4), TagState.BUILDING, by="hive", at=3001)
    await applied.transition(ProposalId(4), TagState.FAILED, by="hive", reason="line 1\nline 2", at=3002)
    told = [(d.state, d.approved_by, d.by, d.reason, d.resolved_at) for d in await applied.deploys()]
    assert told == [
        (TagState.DENIED, None, "operator", "not now", 3000),
        (TagState.APPROVED, "ann", "ann", None, 3000),
        (TagState.FAILED, "ann", "ann", "cancelled", 3001),
        (TagState.FAILED, "ann", "hive", "line 1\nline 2", 3002),
    ]


async def test_deployed_moves_main_and_names_the_meta_commit(spawned: Applied, seed: Sha, child: Child) -> None:
    sha = child(seed, "a = 1\n")
    await _building(spawned, ONE, sha)
    await spawned.deployed(ONE, by="hive", at=2003, meta_commit=META, unproven=True, seed=False)
    deploy = await _one(spawned, ONE)
    assert (deploy.state, deploy.meta_commit, deploy.unproven) == (TagState.DEPLOYED, META, True)
    assert (deploy.base, deploy.approved_by, deploy.resolved_at) == (seed, "operator uid 0", 2003)
    assert await spawned.main() == sha


async def test_a_rollback_is_a_commit_on_main_with_the_files_of_the_older_one(
    spawned: Applied, seed: Sha, child: Child, git: Git
) -> None:
    sha = child(seed, "a = 1\n")
    await _deploy(spawned, ONE, sha)
    back = await spawned.restore(sha, seed, "rollback to deployed/0", 2010)
    await _deploy(spawned, TWO, back, DeployKind.ROLLBACK)
    assert await spawned.main() == back
    assert git(spawned.repo.path, "rev-parse", f"{back}^", f"{back}^{{tree}}").split() == [
        sha,
        git(spawned.repo.path, "rev-parse", f"{seed}^{{tree}}").strip(),
    ]


@pytest.mark.parametrize("object", ["{tree}", "agent.toml"])
async def test_no_rollback_is_made_to_an_older_commit_that_is_not_whole(
    spawned: Applied, seed: Sha, child: Child, git: Git, object: str
) -> None:
    sha = child(seed, "a = 1\n")
    await _deploy(spawned, ONE, sha)
    spec = f"{seed}^{object}" if object.startswith("{") else f"{seed}:{object}"
    name = git(spawned.repo.path, "rev-parse", spec).strip()
    (spawned.repo.path / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(Damaged):
        await spawned.restore(sha, seed, "rollback to deployed/0", 2010)


async def test_a_rollback_to_an_older_commit_itself_leaves_main(spawned: Applied, seed: Sha, child: Child) -> None:
    """An older hive made those."""
    sha = child(seed, "a = 1\n")
    await _deploy(spawned, ONE, sha)
    await _deploy(spawned, TWO, seed, DeployKind.ROLLBACK)
    assert await spawned.main() == sha
    assert (await _one(spawned, TWO)).sha == seed


# spawn
async def test_the_first_spawn_is_id_0_and_makes_main(spawned: Applied, seed: Sha) -> None:
    assert [(deploy.id, deploy.kind, deploy.meta_commit) for deploy in await spawned.deploys()] == [
        (ZERO, DeployKind.SPAWN, META)
    ]
    assert await spawned.main() == seed


async def test_an_asked_for_spawn_also_deploys_0_on_the_seed(applied: Applied, seed: Sha) -> None:
    await _deploy(applied, ProposalId(5), seed, DeployKind.SPAWN)
    found = {deploy.id: deploy for deploy in await applied.deploys()}
    assert set(found) == {ZERO, ProposalId(5)}
    assert (found[ZERO].state, found[ZERO].sha, found[ZERO].meta_commit) == (TagState.DEPLOYED, seed, None)
    assert await applied.main() == seed


async def test_an_id_0_that_failed_stays_failed_when_a_later_spawn_succeeds(applied: Applied, seed: Sha) -> None:
    await _building(applied, ZERO, seed, DeployKind.SPAWN)
    await applied.transition(ZERO, TagState.FAILED, by="hive", reason="no", at=2003)
    await _deploy(applied, ONE, seed, DeployKind.SPAWN)
    assert (await _one(applied, ZERO)).state is TagState.FAILED


async def test_a_respawn_leaves_main_where_it_was(spawned: Applied, seed: Sha, child: Child) -> None:
    sha = child(seed, "a = 1\n")
    await _deploy(spawned, ONE, sha)
    await _deploy(spawned, TWO, seed, DeployKind.SPAWN)
    assert await spawned.main() == sha


# cut short
async def test_a_deployed_tag_without_main_is_completed(spawned: Applied, seed: Sha, child: Child) -> None:
    sha = child(seed, "a = 1\n")
    await _deploy(spawned, ONE, sha)
    await spawned.repo.transaction([RefChange("refs/heads/main", new=seed, old=sha)])  # as if cut between the refs
    await spawned.deployed(ONE, by="hive", at=9, meta_commit=META, unproven=False, seed=False)
    assert await spawned.main() == sha
    assert (await _one(spawned, ONE)).resolved_at == 2003


async def test_main_without_its_deployed_tag_is_completed(spawned: Applied, seed: Sha, child: Child) -> None:
    sha = child(seed, "a = 1\n")
    await _building(spawned, ONE, sha)
    await spawned.repo.transaction([RefChange("refs/heads/main", new=sha, old=seed)])
    await spawned.deployed(ONE, by="hive", at=9, meta_commit=META, unproven=False, seed=False)
    assert (await _one(spawned, ONE)).state is TagState.DEPLOYED


async def test_a_late_repetition_does_not_move_main_back(spawned: Applied, seed: Sha, child: Child) -> None:
    one = child(seed, "a = 1\n")
    two = child(one, "a = 2\n")
    await _deploy(spawned, ONE, one)
    await _deploy(spawned, TWO, two)
    await spawned.deployed(ONE, by="hive", at=9, meta_commit=META, unproven=False, seed=False)
    assert await spawned.main() == two


# refusals
async def test_an_id_is_proposed_once(applied: Applied, seed: Sha) -> None:
    await _propose(applied, ONE, seed)
    with pytest.raises(Conflict, match="there is a proposal 1 of alice already"):
        await _propose(applied, ONE, seed)


async def test_a_commit_that_is_not_there_cannot_be_proposed(applied: Applied) -> None:
    with pytest.raises(NotFound, match="no commit 111111111111"):
        await _propose(applied, ONE, Sha("1" * 40))


async def test_an_unknown_id_is_named(applied: Applied) -> None:
    with pytest.raises(NotFound, match="alice has no proposal 7"):
        await applied.transition(ProposalId(7), TagState.APPROVED, by="x", at=1)
    with pytest.raises(NotFound, match="alice has no proposal 7"):
        await applied.deployed(ProposalId(7), by="x", at=1, meta_commit=META, unproven=False, seed=False)


async def test_approving_another_commit_than_was_shown_is_refused(applied: Applied, seed: Sha) -> None:
    await _propose(applied, ONE, seed)
    with pytest.raises(Conflict, match=f"1 is commit {seed[:12]}, not 222222222222"):
        await applied.transition(ONE, TagState.APPROVED, by="x", at=1, seen=Sha("2" * 40))
    assert (await _one(applied, ONE)).state is TagState.PROPOSAL


@pytest.mark.parametrize(
    ("path", "to", "words"),
    [
        ((), TagState.BUILDING, "1 is still pending, it cannot become building"),
        ((TagState.DENIED,), TagState.DENIED, "1 is already denied"),
        ((TagState.DENIED,), TagState.APPROVED, "1 is already denied"),
        ((TagState.APPROVED,), TagState.APPROVED, "1 is already approved"),
        ((TagState.APPROVED,), TagState.DENIED, "1 is approved, it cannot become denied"),
        ((TagState.APPROVED, TagState.FAILED), TagState.APPROVED, "1 is already failed"),
    ],
)
async def test_a_refusal_names_the_present_state(
    applied: Applied, seed: Sha, path: tuple[TagState, ...], to: TagState, words: str
) -> None:
    await _propose(applied, ONE, seed)
    for state in path:
        await applied.transition(ONE, state, by="x", at=1)
    with pytest.raises(Conflict, match=words) as caught:
        await applied.transition(ONE, to, by="x", at=1)
    assert caught.value.hint


async def test_deploying_what_is_not_building_is_refused(applied: Applied, seed: Sha) -> None:
    await _propose(applied, ONE, seed)
    with pytest.raises(Conflict, match="1 is still pending"):
        await applied.deployed(ONE, by="hive", at=1, meta_commit=META, unproven=False, seed=False)


async def test_a_decision_that_lost_a_race_is_told_who_won(
    layout: Layout, applied: Applied, seed: Sha, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _propose(applied, ONE, seed)
    rival = Applied(layout, ALICE)
    transaction = GitRepo.transaction

    async def late(self: GitRepo, *arguments: object) -> None:
        monkeypatch.setattr(GitRepo, "transaction", transaction)
        await rival.transition(ONE, TagState.DENIED, by="bob", at=5)
        await transaction(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(GitRepo, "transaction", late)
    with pytest.raises(Conflict, match="1 is already denied"):
        await applied.transition(ONE, TagState.APPROVED, by="ann", at=5)


async def test_a_stale_lock_is_transient_and_changes_nothing(applied: Applied, seed: Sha) -> None:
    await _propose(applied, ONE, seed)
    (applied.repo.path / "refs/tags/approved/1.lock").touch()
    with pytest.raises(TransientError):
        await applied.transition(ONE, TagState.APPROVED, by="x", at=1)
    assert (await _one(applied, ONE)).state is TagState.PROPOSAL


# tags by other hands
@pytest.mark.parametrize("how", ["lightweight", "annotated", "copy", "packed"])
async def test_a_tag_written_by_hand_counts_and_changes_the_stamp(
    applied: Applied, seed: Sha, git: Git, how: str
) -> None:
    await _propose(applied, ONE, seed)
    before = applied.stamp()
    assert (await _one(applied, ONE)).state is TagState.PROPOSAL
    if how == "annotated":
        git(applied.repo.path, "tag", "-a", "-m", "go", "approved/1", seed)
    elif how == "copy":
        git(applied.repo.path, "update-ref", "refs/tags/approved/1", "refs/tags/proposal/1")
    else:
        git(applied.repo.path, "tag", "approved/1", seed)
    if how == "packed":
        git(applied.repo.path, "gc", "-q", "--prune=now")
    assert applied.stamp() != before
    deploy = await _one(applied, ONE)
    assert (deploy.state, deploy.approved_by, deploy.sha) == (TagState.APPROVED, "unknown", seed)
    await applied.transition(ONE, TagState.BUILDING, by="hive", at=1)


async def test_a_tag_by_hand_without_a_proposal_still_counts(applied: Applied, seed: Sha, git: Git) -> None:
    git(applied.repo.path, "tag", "approved/9", seed)
    deploy = await _one(applied, ProposalId(9))
    assert (deploy.state, deploy.sha, deploy.kind) == (TagState.APPROVED, seed, DeployKind.APPLY_COMMIT)


async def test_what_is_no_tag_of_hives_is_passed_over(applied: Applied, seed: Sha, git: Git) -> None:
    path = applied.repo.path
    git(path, "tag", "v1.0", seed)
    git(path, "tag", "approved/x", seed)
    assert await applied.deploys() == ()


async def test_later_tags_cannot_exchange_the_proposed_commit(
    applied: Applied, seed: Sha, child: Child, git: Git
) -> None:
    await _propose(applied, ONE, seed)
    git(applied.repo.path, "tag", "approved/1", child(seed, "evil = 1\n"))
    assert (await _one(applied, ONE)).sha == seed


# reading
async def test_reading_with_nothing_changed_starts_no_process_and_gives_the_same(
    spawned: Applied, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await spawned.deploys()

    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(GitRepo, "_execute", refuse)
    assert await spawned.deploys() is before
    assert await Applied(layout, ALICE).deploys() == before, "nor by a new daemon, while the tags are loose"
    await spawned.main()
    spawned.stamp()


async def test_history_and_diff_of_a_proposal(spawned: Applied, seed: Sha, child: Child) -> None:
    one = child(seed, "a = 1\n")
    two = child(one, "a = 2\n")
    assert await spawned.log(seed, two) == ("set a = 2", "set a = 1")
    assert await spawned.log(None, seed) == ("seed of alice",)
    assert "+a = 2" in (await spawned.diff(seed, two)).patch
    assert "+be kind" in (await spawned.diff(None, seed)).patch
    assert await spawned.is_ancestor(seed, two)
    assert await spawned.resolve(two[:10]) == two
    assert await spawned.has(two)
    assert not await spawned.has(Sha("1" * 40))
    assert await spawned.read(two, "agent.toml") == b"a = 2\n"
