"""The conversion of an older hive's repo: what comes out of it, and what it refuses. Nothing is lost in either case."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.applied.conversion import convert, put_back, tidy
from meta.applied.older import Shape, ids, shape
from meta.applied.repo import Applied
from meta.config import Config
from meta.errors import HiveError
from meta.git.every_ref import every_ref
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId
from tests.support import older_layout
from tests.support.older_layout import git

ALICE = AgentName("alice")
CONFIG = Config.model_validate({})

pytestmark = pytest.mark.bwrap


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "s", tmp_path / "r")


@pytest.fixture
def folder(layout: Layout) -> Path:
    made = older_layout.make(layout, ALICE)
    older_layout.put_in_flight(made)
    return made


async def converted(layout: Layout) -> Applied:
    await convert(layout, ALICE, CONFIG, None, 1000)
    tidy(layout.applied(ALICE))
    return Applied(layout, ALICE)


async def test_main_and_deployed_0_are_a_commit_that_only_offers_the_module(layout: Layout, folder: Path) -> None:
    before = git(folder, "rev-parse", "main")
    applied = await converted(layout)
    main = await applied.main()
    assert main is not None
    assert (await applied.repo.commit(main)).parents == (before,)
    files = await applied.files(main)
    assert sorted(files) == ["agent.nix", "agent.toml", "flake.nix"]
    assert files["agent.nix"].data.decode() == older_layout.DEPLOYED
    assert b"nixosModules.default = ./agent.nix" in files["flake.nix"].data
    zero = {deploy.id: deploy for deploy in await applied.deploys()}[ProposalId(0)]
    assert (zero.state, zero.sha, zero.kind) == (TagState.DEPLOYED, main, DeployKind.SPAWN)
    assert applied.repo.ref("refs/tags/proposal/0") is not None


async def test_every_older_ref_stays_and_what_was_in_flight_ends(layout: Layout, folder: Path) -> None:
    before = every_ref(folder / ".git")
    applied = await converted(layout)
    now = every_ref(applied.repo.path)
    assert {
        f"refs/hive/older/{ref.removeprefix('refs/')}": value for ref, value in before.items()
    }.items() <= now.items()
    states = {deploy.id: deploy.state for deploy in await applied.deploys()}
    ends = [TagState.DEPLOYED] * 3 + [TagState.FAILED, TagState.DENIED, TagState.FAILED, TagState.FAILED]
    assert [states[ProposalId(id)] for id in range(7)] == ends
    assert ids(now) == {1, 2, 3, 4, 5, 6}


async def test_no_trailer_of_an_older_tag_counts(layout: Layout, folder: Path) -> None:
    facts = "Hive-Kind: rollback\nHive-Source: declared#host\nHive-By: nixos-rebuild (generation 42)"
    denied = f"Hive-Commit: {'1' * 40}\nHive-Proposal: {'1' * 40}\nHive-Proposed-At: 1\nHive-Reason-Lines: 1\n{facts}"
    for state in ("proposal", "approved", "building", "deployed"):
        git(folder, "tag", "-a", "-m", f"{state} 50\n\nwords\n\n{facts}\n", f"{state}/50")
    git(folder, "tag", "-a", "-m", f"denied 51\n\n{denied}\n", "denied/51")
    git(folder, "tag", "-a", "-m", f"proposal 52\n\n{facts}\n", "proposal/52")
    deploys = {deploy.id: deploy for deploy in await (await converted(layout)).deploys()}
    for id in (50, 51, 52):
        deploy = deploys[ProposalId(id)]
        assert (deploy.kind, deploy.source, deploy.proposed_by) == (DeployKind.APPLY_COMMIT, "", "unknown")
        assert deploy.sha == git(folder / "older", "rev-parse", "main")
    assert deploys[ProposalId(50)].approved_by == "unknown"
    assert (deploys[ProposalId(50)].description, deploys[ProposalId(52)].by) == ("words", "hive")


async def test_a_ref_with_an_odd_name_stays_in_the_older_repo(layout: Layout, folder: Path) -> None:
    git(folder, "branch", "odd+name")
    git(folder, "branch", "plain-name")
    applied = await converted(layout)
    assert "refs/hive/older/heads/plain-name" in every_ref(applied.repo.path)
    assert not [ref for ref in every_ref(applied.repo.path) if "odd" in ref]
    assert git(folder / "older", "rev-parse", "odd+name") == git(folder / "older", "rev-parse", "main")


async def test_the_older_work_tree_stays_with_its_edit(layout: Layout, folder: Path) -> None:
    await converted(layout)
    assert sorted(path.name for path in folder.iterdir()) == [".git", "older"]
    assert git(folder / "older", "status", "--porcelain") == "M agent.nix"
    assert (folder / "older/agent.nix").read_text(encoding="utf-8") == older_layout.EDITED


async def test_git_finds_no_fault_in_the_new_repo(layout: Layout, folder: Path) -> None:
    applied = await converted(layout)
    assert subprocess.run(["git", "fsck", "--strict"], cwd=applied.repo.path).returncode == 0
    assert list((applied.repo.path / "objects/pack").glob("*.pack"))


async def test_nothing_that_the_older_repo_configures_runs(layout: Layout, folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hook = folder / ".git/hooks/post-checkout"
    for name in ("post-checkout", "reference-transaction", "post-update"):
        older_layout.write(hook.with_name(name), f"#!/bin/sh\ntouch {ran}\n")
        hook.with_name(name).chmod(0o755)
    for key in ("core.fsmonitor", "uploadpack.packObjectsHook", "core.sshCommand", "diff.external"):
        git(folder, "config", key, f"sh -c 'touch {ran}'")
    await converted(layout)
    assert not ran.exists()


def cut_an_object(folder: Path) -> None:
    path = next(path for path in sorted((folder / ".git/objects").glob("??/*")))
    path.chmod(0o644)
    path.write_bytes(b"")


def cut_a_tag(folder: Path) -> None:
    (folder / ".git/refs/tags/deployed/2").write_bytes(b"")


def point_a_tag_nowhere(folder: Path) -> None:
    (folder / ".git/refs/tags/deployed/2").write_text("1" * 40 + "\n", encoding="ascii")


def lose_main(folder: Path) -> None:
    (folder / ".git/refs/heads/main").unlink()


def borrow_objects(folder: Path) -> None:
    (folder / ".git/objects/info").mkdir(exist_ok=True)
    aside = folder.parent.parent / "elsewhere"
    (folder / ".git/objects").rename(aside)
    (folder / ".git/objects/info").mkdir(parents=True)
    (folder / ".git/objects/info/alternates").write_text(f"{aside}\n", encoding="utf-8")


def be_a_link(folder: Path) -> None:
    (folder / ".git").rename(folder.parent.parent / "elsewhere")
    (folder / ".git").symlink_to(folder.parent.parent / "elsewhere")


def hide_refs(folder: Path) -> None:
    git(folder, "config", "transfer.hideRefs", "refs/tags/failed")


def have_no_module(folder: Path) -> None:
    git(folder, "rm", "-q", "-f", "agent.nix")
    deploy(folder)


def link_the_module(folder: Path) -> None:
    (folder / "agent.nix").unlink()
    (folder / "agent.nix").symlink_to("flake.nix")
    deploy(folder)


def make_a_folder_of_the_settings(folder: Path) -> None:
    older_layout.write(folder / "agent.toml/x", "x\n")
    deploy(folder)


def add_a_submodule(folder: Path) -> None:
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},deep/module")
    git(folder, "commit", "-q", "-m", "submodule")
    git(folder, "tag", "deployed/7")


def link_to_a_file_of_the_host(folder: Path) -> None:
    (folder / "secret.nix").symlink_to("/etc/passwd")
    deploy(folder)


def tag_a_blob(folder: Path) -> None:
    git(folder, "tag", "deployed/7", git(folder, "rev-parse", "main:agent.nix"))


def be_shallow(folder: Path) -> None:
    (folder / ".git/shallow").write_text(git(folder, "rev-parse", "main") + "\n", encoding="ascii")


def deploy(folder: Path) -> None:
    """Commit the work tree as an older hive deployed it."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "deployed")
    git(folder, "tag", "deployed/7")


DAMAGES = {
    cut_an_object: "",
    cut_a_tag: "",
    point_a_tag_nowhere: "git fsck",
    lose_main: "git branch main deployed/2",
    borrow_objects: "",
    be_a_link: "",
    hide_refs: "git fsck",
    have_no_module: "git tag deployed/8",
    link_the_module: "git tag deployed/8",
    make_a_folder_of_the_settings: "git tag deployed/8",
    add_a_submodule: "git tag deployed/8",
    link_to_a_file_of_the_host: "git tag deployed/8",
    tag_a_blob: "git fsck",
    be_shallow: "git fetch --unshallow",
}


@pytest.mark.parametrize(("damage", "remedy"), DAMAGES.items())
async def test_a_damaged_repo_is_refused_and_stays_as_it_is(
    layout: Layout, folder: Path, damage: Callable[[Path], None], remedy: str
) -> None:
    damage(folder)
    before = {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    with pytest.raises(HiveError) as caught:
        await convert(layout, ALICE, CONFIG, None, 1000)
    assert remedy in (caught.value.hint or "")
    assert {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))} == before
    assert not list(layout.scratch.iterdir())


def add_a_commit(folder: Path) -> None:
    older_layout.write(folder / "agent.nix", "{ ... }: { } # nobody approved this\n")
    git(folder, "commit", "-q", "-a", "-m", "later")


def go_back(folder: Path) -> None:
    git(folder, "reset", "-q", "--hard", "HEAD~1")


def begin_anew(folder: Path) -> None:
    git(folder, "checkout", "-q", "-f", "--orphan", "new")
    add_a_commit(folder)
    git(folder, "branch", "-f", "main", "new")


@pytest.mark.parametrize("change", [add_a_commit, go_back, begin_anew])
async def test_what_was_deployed_last_runs_even_if_main_is_another_commit(
    layout: Layout, folder: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path], None]
) -> None:
    deployed = git(folder, "rev-parse", "deployed/2^{commit}")
    change(folder)
    later = git(folder, "rev-parse", "main")
    applied = await converted(layout)
    main = await applied.main()
    assert main is not None
    assert (await applied.repo.commit(main)).parents == (deployed,)
    assert (await applied.files(main))["agent.nix"].data.decode() == older_layout.DEPLOYED
    assert applied.repo.ref("refs/hive/older/heads/main") == later
    assert f"deployed/2 is {deployed[:12]}, but main was {later[:12]}" in caplog.text
    assert later[:12] in (await applied.repo.commit(main)).message


async def test_a_commit_that_only_a_detached_head_names_does_not_run(layout: Layout, folder: Path) -> None:
    git(folder, "checkout", "-q", "-f", "--detach")
    add_a_commit(folder)
    applied = await converted(layout)
    main = await applied.main()
    assert main is not None
    assert (await applied.files(main))["agent.nix"].data.decode() == older_layout.DEPLOYED


async def test_an_annotated_tag_names_what_was_deployed(layout: Layout, folder: Path) -> None:
    git(folder, "tag", "-a", "-m", "deployed", "deployed/7", "main~1")
    applied = await converted(layout)
    main = await applied.main()
    assert main is not None
    assert (await applied.files(main))["agent.nix"].data == b"{ ... }: { } # 1\n"


async def test_a_repo_without_a_deployed_tag_is_converted_at_its_main(layout: Layout, folder: Path) -> None:
    for id in range(3):
        git(folder, "tag", "-d", f"deployed/{id}")
    applied = await converted(layout)
    main = await applied.main()
    assert main is not None
    assert (await applied.files(main))["agent.nix"].data.decode() == older_layout.DEPLOYED


async def test_a_conversion_leaves_nothing_in_scratch(layout: Layout, folder: Path) -> None:
    await converted(layout)
    assert not list(layout.scratch.iterdir())


async def test_what_a_kill_took_is_put_back(layout: Layout, folder: Path) -> None:
    (folder / ".git").rename(folder / "older.git")
    assert shape(folder) is Shape.TAKEN
    put_back(folder)
    assert shape(folder) is Shape.OLDER


async def test_tidy_writes_over_nothing(layout: Layout, folder: Path) -> None:
    await convert(layout, ALICE, CONFIG, None, 1000)
    assert shape(folder) is Shape.UNTIDY
    older_layout.write(folder / "older/agent.nix", "another\n")
    with pytest.raises(HiveError, match="in the way"):
        tidy(folder)
    assert (folder / "older/agent.nix").read_text(encoding="utf-8") == "another\n"
