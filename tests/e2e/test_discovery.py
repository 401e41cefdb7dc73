"""Commits become proposals by being seen. The resync is ten minutes here: what is found is found by a hint."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from meta.errors import Conflict, Refused
from meta.names import AgentName
from meta.proposed import push_repo
from tests.support.lab import Lab

SETTINGS = {"HIVE_RESYNC": "600", "HIVE_FINDS_PER_MINUTE": "1000"}
ANY = "safe.directory=*"

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob", "carol"), settings=SETTINGS)]
Card = dict[str, Any]


def push_git(lab: Lab, agent: str = "alice") -> Path:
    return push_repo.path_of(lab.layout, AgentName(agent))


def push(lab: Lab, branch: str, text: str, agent: str = "alice", message: str = "change") -> str:
    """Commit on top of applied/main and push; the commit."""
    clone = lab.commit(f'label = "{text}"\n', agent)
    lab.git(clone, "commit", "-q", "--amend", "--allow-empty", "-m", message)
    lab.git(clone, "push", "-q", "-f", str(push_git(lab, agent)), f"HEAD:refs/heads/{branch}")
    return lab.git(clone, "rev-parse", "HEAD")


def cards(lab: Lab, agent: str = "alice") -> list[Card]:
    """Newest first."""
    return list(lab.get("/api/proposals", all=1, agent=agent, limit=1000))


def card_of(lab: Lab, sha: str, agent: str = "alice") -> Card:
    """The card of a commit, once there is one."""
    return lab.until(lambda: next((card for card in cards(lab, agent) if card["fetched_sha"] == sha), None))


def edit(lab: Lab, branch: str, text: str, agent: str = "alice") -> str:
    """Commit on top of applied/main in the agent's proposed work tree, as the manager does; the commit."""
    tree = lab.layout.proposed_config(AgentName(agent))
    lab.git(tree, "-c", ANY, "fetch", "-q", str(lab.applied(agent)), "main")
    lab.git(tree, "-c", ANY, "checkout", "-q", "-B", "scratch", "FETCH_HEAD")
    (tree / "agent.toml").write_text(f'label = "{text}"\n', encoding="utf-8")
    lab.git(tree, "-c", ANY, "commit", "-q", "-a", "-m", f"set {text}")
    lab.git(tree, "-c", ANY, "branch", "-q", "-f", branch)
    return lab.git(tree, "-c", ANY, "rev-parse", branch)


# pushing
def test_of_a_push_of_200_commits_the_tip_becomes_one_proposal_and_its_message_the_cards_text(lab: Lab) -> None:
    before = len(cards(lab))
    clone = lab.commit('label = "many"\n')
    stream = "".join(
        f"commit refs/heads/many\ncommitter p <p@p> {number} +0000\ndata {len(f'step {number}')}\nstep {number}\n"
        + (f"from {lab.git(clone, 'rev-parse', 'HEAD')}\n" if number == 1 else "")
        for number in range(1, 201)
    )
    script = lab.directory / "many"
    script.write_text(stream, encoding="ascii")
    lab.git(clone, "-c", "alias.load=!git fast-import --quiet --force <" + str(script), "load")
    lab.git(clone, "push", "-q", str(push_git(lab)), "refs/heads/many:refs/heads/many")
    card = card_of(lab, lab.git(clone, "rev-parse", "refs/heads/many"))
    assert (card["description"], card["status"]) == ("step 200", "pending")
    assert (card["source"], card["proposed_by"]) == ("proposed/push.git#many", f"push by uid {os.geteuid()}")
    assert len(cards(lab)) == before + 1
    assert f"{card['id']} " in lab.hive("pending").out


def test_what_was_pinned_stays_whatever_happens_to_the_branch_afterwards(lab: Lab) -> None:
    first = push(lab, "pinned", "one")
    id = card_of(lab, first)["id"]
    clone = lab.directory / "w" / "alice"
    repo = push_git(lab)
    lab.git(clone, "push", "-q", str(repo), ":pinned")
    lab.git(repo, "-c", ANY, "gc", "-q", "--prune=now")
    assert lab.approve(id)["state"] == "deployed"
    assert lab.agent("alice")["sha"] == first == lab.ref(f"deployed/{id}")


def test_a_force_push_supersedes_the_pending_one_and_does_not_change_it(lab: Lab) -> None:
    first = push(lab, "again", "first try")
    old = card_of(lab, first)
    second = push(lab, "again", "second try")
    new = card_of(lab, second)
    gone = lab.card(old["id"])
    assert (gone["status"], gone["note"], gone["fetched_sha"]) == ("denied", f"superseded by {new['id']}", first)
    assert "superseded by" in lab.told(f"denied/{old['id']}")
    with pytest.raises(Conflict, match="already denied"):
        lab.post(f"/api/proposals/{old['id']}/approve")
    other = card_of(lab, push(lab, "elsewhere", "third try"))
    assert (lab.card(new["id"])["status"], other["status"]) == ("pending", "pending")


ODD = ["a/b/c", "ünï-😀", "$(reboot);`id`|&x", "--upload-pack=x", "'\"", "refs/x"]


@pytest.mark.parametrize("branch", ODD)
def test_a_branch_may_have_an_odd_name(lab: Lab, branch: str) -> None:
    card = card_of(lab, push(lab, branch, "odd", "carol", message=branch), "carol")
    assert card["source"] == f"proposed/push.git#{branch}"
    assert lab.card(card["id"])["description"] == branch
    lab.post(f"/api/proposals/{card['id']}/deny")


def test_two_pushers_at_once_get_a_proposal_each_and_of_one_branch_the_last_counts(lab: Lab) -> None:
    clones = []
    for number in range(4):
        lab.commit(f'label = "racer {number}"\n', "bob")
        clone = lab.directory / f"racer{number}"
        shutil.copytree(lab.directory / "w" / "bob", clone)
        clones.append(clone)
    targets = ["one", "two", "same", "same"]

    def go(clone: Path, branch: str) -> None:
        try:
            lab.git(clone, "push", "-q", "-f", str(push_git(lab, "bob")), f"HEAD:{branch}")
        except subprocess.CalledProcessError as error:  # git lets one of two through that come in the same moment
            assert branch == "same", error.stderr

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go, clones, targets))
    for branch in ("one", "two", "same"):
        tip = lab.git(push_git(lab, "bob"), "-c", ANY, "rev-parse", branch)
        card_of(lab, tip, "bob")
        pending = [
            card["fetched_sha"]
            for card in cards(lab, "bob")
            if card["source"] == f"proposed/push.git#{branch}" and card["status"] == "pending"
        ]
        assert pending == [tip]


def test_a_commit_that_is_refused_is_no_proposal_and_the_status_says_why(lab: Lab) -> None:
    clone = lab.directory / "orphan"
    clone.mkdir()
    lab.git(clone, "init", "-q", "-b", "main")
    lab.git(clone, "commit", "-q", "--allow-empty", "-m", "from nowhere")
    lab.git(clone, "push", "-q", str(push_git(lab, "carol")), "HEAD:orphan")
    sha = lab.git(clone, "rev-parse", "HEAD")
    words = f"push/carol.git branch orphan at {sha[:12]} is no proposal: commit {sha[:12]} does not descend from "
    lab.until(lambda: any(words in said for said in lab.agent("carol")["conditions"]))
    lab.git(clone, "push", "-q", str(push_git(lab, "carol")), ":orphan")
    lab.until(lambda: not lab.agent("carol")["conditions"])


def test_a_push_to_a_destroyed_agent_waits_for_it_to_come_back(lab: Lab) -> None:
    lab.spawn("dora")
    lab.do("dora", "destroy")
    sha = push(lab, "main", "too late", "dora")
    card_of(lab, push(lab, "marker", "meanwhile"))
    assert all(card["fetched_sha"] != sha for card in cards(lab, "dora"))
    lab.spawn("dora")
    assert card_of(lab, sha, "dora")["status"] == "pending"


def test_a_push_repo_that_is_gone_is_made_again(lab: Lab) -> None:
    shutil.rmtree(push_git(lab, "bob"))
    lab.post("/api/reconcile", agent="bob")
    lab.settle("bob")
    assert card_of(lab, push(lab, "anew", "anew", "bob"), "bob")["status"] == "pending"


# the work tree
def test_a_commit_on_a_branch_for_proposing_is_found_and_main_only_when_the_agent_says_so(lab: Lab) -> None:
    quiet = edit(lab, "main", "quiet", "bob")
    topic = card_of(lab, edit(lab, "propose/topic", "topic", "bob"), "bob")
    assert (topic["source"], topic["proposed_by"]) == ("proposed/config#propose/topic", "manager")
    assert all(card["fetched_sha"] != quiet for card in cards(lab, "bob"))
    assert lab.deploy("auto_propose = true\n", "bob")["state"] == "deployed"
    loud = card_of(lab, edit(lab, "main", "loud", "bob"), "bob")
    assert (loud["source"], loud["description"]) == ("proposed/config#main", "set loud")


def test_a_commit_that_two_branches_propose_stays_until_both_have_moved_on(lab: Lab) -> None:
    shared = push(lab, "anna", "for both", "bob")
    card = card_of(lab, shared, "bob")
    clone, place = lab.directory / "w/bob", str(push_git(lab, "bob"))
    lab.git(clone, "push", "-q", place, f"{shared}:refs/heads/ben")
    newer = card_of(lab, push(lab, "anna", "for anna", "bob"), "bob")
    lab.settle("bob")
    assert [lab.card(each["id"])["status"] for each in (card, newer)] == ["pending", "pending"]
    lab.git(clone, "push", "-q", place, "--delete", "ben")
    assert lab.until(lambda: lab.card(card["id"])["status"] == "denied")


def test_after_a_rollback_main_counts_as_the_commit_says_that_runs(lab: Lab) -> None:
    assert lab.deploy("auto_propose = true\n", "carol")["state"] == "deployed"
    assert lab.post("/api/agents/carol/rollback")["agent"] == "carol"
    lab.settle("carol")
    quiet = edit(lab, "main", "quiet after all", "carol")
    card_of(lab, edit(lab, "propose/later", "later", "carol"), "carol")
    assert all(card["fetched_sha"] != quiet for card in cards(lab, "carol"))


@pytest.mark.parametrize("kind", ["file", "symlink", "fifo"])
def test_a_git_directory_that_is_something_else_holds_up_nobody(lab: Lab, kind: str) -> None:
    git = lab.layout.proposed_config(AgentName("carol")) / ".git"
    aside = lab.directory / "aside"
    sha = edit(lab, "scratch-only", kind, "carol")
    git.rename(aside)
    if kind == "file":
        git.write_text(f"gitdir: {aside}\n", encoding="ascii")
    elif kind == "symlink":
        git.symlink_to(aside)
    else:
        os.mkfifo(git)
    (aside / "refs/heads/propose").mkdir(exist_ok=True)
    (aside / "refs/heads/propose" / kind).write_text(f"{sha}\n", encoding="ascii")
    card_of(lab, push(lab, f"while-{kind}", kind, "carol"), "carol")
    assert any(f"{git} is not a directory" in said for said in lab.agent("carol")["conditions"])
    assert all(card["fetched_sha"] != sha for card in cards(lab, "carol"))
    git.unlink()
    aside.rename(git)
    (git.parent.parent / "poke").touch()
    assert card_of(lab, sha, "carol")["source"] == f"proposed/config#propose/{kind}"


# commands beside it
def test_an_explicit_proposal_of_a_commit_that_was_found_adds_its_description(lab: Lab) -> None:
    sha = push(lab, "described", "described")
    id = card_of(lab, sha)["id"]
    clone = lab.directory / "w" / "alice"
    card = lab.post("/api/proposals", agent="alice", source=str(clone), description="because it is better")
    assert (card["id"], card["description"]) == (id, "because it is better")
    lab.post(f"/api/proposals/{id}/deny")


def test_a_denied_commit_is_tried_again_under_a_new_id(lab: Lab) -> None:
    sha = push(lab, "retried", "retried")
    id = card_of(lab, sha)["id"]
    with pytest.raises(Conflict, match="is pending, only a failed or denied id is tried again"):
        lab.post(f"/api/proposals/{id}/retry")
    lab.post(f"/api/proposals/{id}/deny", reason="not now")
    said = lab.hive("retry", str(id))
    assert said.code == 0, said
    new = cards(lab)[0]
    assert (new["fetched_sha"], new["source"], new["status"]) == (sha, f"denied/{id}", "pending")
    assert f"proposal {new['id']} for alice is commit {sha[:12]} again" in said.out
    lab.post(f"/api/proposals/{new['id']}/deny")
    assert lab.post(f"/api/proposals/{new['id']}/retry")["id"] > new["id"]


def test_a_failed_spawn_is_not_tried_again_as_a_commit(lab: Lab) -> None:
    id = lab.post("/api/agents/bob/request-spawn")["id"]
    assert lab.approve(id)["status"] == "failed"
    with pytest.raises(Refused, match="a spawn, not a proposal of a commit"):
        lab.post(f"/api/proposals/{id}/retry")


# across daemons
@pytest.mark.parametrize("lost", [False, True], ids=["restart", "no database"])
def test_no_tip_is_found_twice_across_daemons(lab: Lab, lost: bool) -> None:
    card_of(lab, push(lab, "kept", f"kept {lost}"))
    lab.kill()
    if lost:
        for path in lab.layout.state.glob("hive.db*"):
            path.unlink()
    missed = push(lab, "meanwhile", f"meanwhile {lost}")
    before = lab.tags()
    lab.start()
    id = card_of(lab, missed)["id"]
    lab.settle("alice")
    new = {int(tag.split("/")[1]) for tag in lab.tags() - before if tag.startswith("proposal/")}
    assert new == {id}, "the one that was pushed while no daemon ran, and none besides"
