"""What the manager sees in its container on a NixOS host: its commands run there, with the repos that hive makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_asyncio

from meta.applied.repo import Applied
from meta.names import MANAGER, Sha
from meta.process.run import run
from reconciler.privileged.values import HARNESS_UID
from tests.systemd.inside.conftest import UID_BASES, NixosHost
from tests.systemd.inside.entered import USERS, Inside, User, enter
from tests.systemd.inside.surroundings import ALICE, FIRST, HELPER, ROOT, SECOND, deploy, make_repos

TREE = "/agents/alice/config"


@pytest_asyncio.fixture
async def manager(nixos_host: NixosHost) -> Inside:
    """The manager, running, and then a new agent alice."""
    inside = await enter(nixos_host, MANAGER)
    await make_repos(nixos_host, HELPER)
    return inside


def git(manager: Inside, *words: str) -> str:
    """git in alice's proposed work tree, as the manager's harness."""
    return manager.text("/usr/bin/git", "-C", TREE, "-c", "user.name=m", "-c", "user.email=m@h", *words)


@pytest.mark.parametrize("how", [ROOT, HELPER])
async def test_the_manager_edits_fetches_shows_and_rebases_in_its_work_tree(nixos_host: NixosHost, how: str) -> None:
    manager = await enter(nixos_host, MANAGER)
    await make_repos(nixos_host, how)
    applied = Applied(manager.host.layout, ALICE)
    first = await applied.main()
    assert first is not None
    manager.python(f"open('{TREE}/notes','w').write('mine')")
    git(manager, "add", "notes")
    git(manager, "commit", "-qm", "notes")
    second = Sha(git(manager, "rev-parse", "HEAD").strip())
    git(manager, "fetch", "-q", "applied")
    assert git(manager, "rev-parse", "applied/main").strip() == first
    assert f"commit {first}" in git(manager, "show", "deployed/0")
    git(manager, "rebase", "-q", "applied/main")
    assert git(manager, "rev-parse", "HEAD", "HEAD^").split() == [second, first]
    owner = manager.host.layout.proposed_config(ALICE) / "notes"
    assert owner.stat().st_uid == UID_BASES[MANAGER] + HARNESS_UID


async def test_what_is_deployed_later_is_seen_at_the_next_fetch(manager: Inside) -> None:
    layout = manager.host.layout
    applied = Applied(layout, ALICE)
    first = await applied.main()
    assert first is not None
    git(manager, "fetch", "-q", "applied")
    second = await newer(layout.applied_git(ALICE), first)
    await deploy(applied, SECOND, second, first)
    git(manager, "fetch", "-q", "applied")
    git(manager, "rebase", "-q", "applied/main")
    assert git(manager, "rev-parse", "HEAD", "deployed/1^{commit}").split() == [second, second]


async def newer(repo: Path, parent: Sha) -> Sha:
    """A commit on `parent` with the same tree."""
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "t"), ("EMAIL", "t@h"))
    }
    argv = ["git", "-C", str(repo), "commit-tree", "-p", parent, "-m", "second", f"{parent}^{{tree}}"]
    return Sha((await run(argv, deadline=20, env=who)).text.strip())


async def test_the_tag_of_a_deploy_has_the_name_that_the_remote_gives_it(manager: Inside) -> None:
    git(manager, "fetch", "-q", "applied")
    assert "deployed/0" in git(manager, "show", f"applied/refs/tags/deployed/{FIRST}")


async def test_the_manager_reads_applied_and_meta_where_they_are_bound(manager: Inside) -> None:
    main = await Applied(manager.host.layout, ALICE).main()
    assert f"commit {main}" in manager.text("/usr/bin/git", "-C", "/agents/alice/applied.git", "log")
    log = manager.text("/usr/bin/git", "-C", "/meta", "log", "--oneline")
    assert len(log.splitlines()) == 2
    assert "spawn alice 0" in log
    locked = json.loads(manager.text("/usr/bin/cat", "/meta/flake.lock"))
    assert locked["nodes"]["agent-alice"]["locked"]["rev"] == main
    assert json.loads(manager.text("/usr/bin/cat", "/meta/agents.json"))["agents"]["alice"]["pin"]["sha"] == main


@pytest.mark.parametrize("user", USERS)
async def test_git_writes_to_the_work_tree_and_not_to_applied_and_meta(manager: Inside, user: User) -> None:
    main = await Applied(manager.host.layout, ALICE).main()
    for repo in ("/applied/alice/.git", "/meta/.git", "/agents/alice/applied.git"):
        for words in (
            ["tag", "planted"],
            ["update-ref", "-d", "refs/heads/main"],
            ["config", "core.hooksPath", "/state"],
        ):
            done = manager.run("/usr/bin/git", "-C", repo, *words, user=user)
            assert done.returncode != 0, words
    done = manager.run("/usr/bin/git", "-C", TREE, "push", "applied", "HEAD:refs/heads/planted", user=user)
    assert done.returncode != 0, done.stdout
    assert await Applied(manager.host.layout, ALICE).main() == main
    assert manager.run("/usr/bin/git", "-C", TREE, "tag", "planted", user=user).returncode == 0
