"""What the host keeps below proposed/<n> counts as there only while all of it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import present, push_repo
from meta.proposed.present import ProposedRepos

ALICE = AgentName("alice")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A state directory in which alice has both; what was seen is kept at once."""
    monkeypatch.setattr(present, "_SETTLED_NS", -1)
    made = Layout(tmp_path / "s", tmp_path / "r")
    made.proposed_config(ALICE).mkdir(parents=True)
    push_repo.create(made, ALICE, Config())
    probe, before = tmp_path / "probe", push_repo.path_of(made, ALICE).stat().st_ctime_ns
    while not probe.exists() or probe.stat().st_ctime_ns == before:  # what follows gets a change time of its own
        probe.touch()
    return made


def test_both_repos_have_to_be_there(layout: Layout) -> None:
    repos = ProposedRepos(layout)
    assert repos.present(ALICE)
    assert repos.present(ALICE)
    shutil.rmtree(layout.proposed_config(ALICE))
    assert not repos.present(ALICE)
    assert not repos.present(AgentName("bob"))


@pytest.mark.parametrize("name", ["HEAD", "config", "commondir", "config.worktree"])
def test_a_file_of_hives_that_went_is_noticed_after_the_repo_was_seen_whole(layout: Layout, name: str) -> None:
    repos = ProposedRepos(layout)
    assert repos.present(ALICE)
    (push_repo.path_of(layout, ALICE) / name).unlink()
    assert not repos.present(ALICE)


@pytest.mark.parametrize("what", ["parent", "tree", "repo"])
def test_a_link_in_its_place_is_not_it(layout: Layout, tmp_path: Path, what: str) -> None:
    places = {"parent": layout.proposed(ALICE), "tree": layout.proposed_config(ALICE)}
    path = places.get(what, push_repo.path_of(layout, ALICE))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not ProposedRepos(layout).present(ALICE)


def test_a_tree_that_is_still_hives_does_not_count_where_it_is_to_be_given_away(layout: Layout) -> None:
    assert not ProposedRepos(layout, given_away=True).present(ALICE)
    if os.geteuid() == 0:
        os.chown(layout.proposed_config(ALICE), 30_000, 30_000)
        assert ProposedRepos(layout, given_away=True).present(ALICE)
