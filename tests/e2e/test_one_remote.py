"""One remote serves for clone and push, a stale proposal is replayed, and nobody's edit is lost in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.errors import Conflict, Occupied
from meta.names import MANAGER, AgentName
from meta.proposed import push_repo
from tests.support.lab import Lab

SETTINGS = {"HIVE_RESYNC": "600", "HIVE_FINDS_PER_MINUTE": "1000"}
pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob", "carol"), settings=SETTINGS)]


def clone_of(lab: Lab, agent: str, name: str) -> Path:
    """Clone the push repo, as a person does."""
    lab.git(lab.directory, "clone", "-q", str(push_repo.path_of(lab.layout, AgentName(agent))), name)
    return lab.directory / name


def push(lab: Lab, clone: Path, branch: str, **files: str) -> int:
    """Change files, commit and push; return the id of the card."""
    for name, text in files.items():
        (clone / name.replace("__", ".")).write_text(text, encoding="utf-8")
    lab.git(clone, "add", "-A")
    lab.git(clone, "-c", "user.name=Ada", "commit", "-q", "-m", f"change for {branch}", "--author", "Ada <ada@x>")
    lab.git(clone, "push", "-q", "origin", f"HEAD:refs/heads/{branch}")
    return card_of(lab, lab.git(clone, "rev-parse", "HEAD"))


def card_of(lab: Lab, sha: str) -> int:
    def look() -> int | None:
        return next((card["id"] for card in lab.get("/api/proposals") if card["fetched_sha"] == sha), None)

    return lab.until(look)


def test_clone_edit_push_approve_pull_edit_push(lab: Lab) -> None:
    clone = clone_of(lab, "alice", "c1")
    assert lab.git(clone, "rev-parse", "HEAD") == lab.ref("main")
    assert "deployed/0" in lab.git(clone, "tag").split()

    first = push(lab, clone, "main", agent__toml='label = "one"\n')
    assert lab.approve(first)["state"] == "deployed"
    lab.git(clone, "pull", "-q", "--ff-only", "--tags")
    assert f"deployed/{first}" in lab.git(clone, "tag").split()

    second = push(lab, clone, "topic", agent__toml='label = "two"\n')
    assert lab.approve(second)["state"] == "deployed"
    assert lab.git(clone, "ls-remote", "origin", "main").split()[0] == lab.ref("main")

    lab.post("/api/agents/alice/rollback", to=first)  # a commit that nobody pushed
    lab.settle("alice")
    lab.git(clone, "pull", "-q", "--ff-only")
    assert (clone / "agent.toml").read_text(encoding="utf-8") == 'label = "one"\n'
    third = push(lab, clone, "main", agent__toml='label = "three"\n')
    assert lab.approve(third)["state"] == "deployed"
    git_dir = push_repo.path_of(lab.layout, AgentName("alice"))
    lab.git(git_dir, "fsck", "--full", "--strict")


def test_what_is_deployed_makes_no_card_on_whatever_branch(lab: Lab) -> None:
    clone = clone_of(lab, "bob", "c2")
    start = lab.git(clone, "rev-parse", "HEAD")
    (clone / "notes").write_text("a", encoding="utf-8")
    lab.git(clone, "add", "-A")
    lab.git(clone, "commit", "-q", "-m", "in between")
    between = lab.git(clone, "rev-parse", "HEAD")
    lab.approve(push(lab, clone, "topic", notes="b"))
    before = len(lab.get("/api/proposals", agent="bob", all=True))
    for number, commit in enumerate((start, between, "HEAD")):
        lab.git(clone, "push", "-q", "origin", f"{commit}:refs/heads/old{number}")
    last = push(lab, clone, "last", notes="c")
    assert len(lab.get("/api/proposals", agent="bob", all=True)) == before + 1
    assert lab.get("/api/refused", agent="bob") == []
    lab.post(f"/api/proposals/{last}/deny")


def test_a_push_that_waits_on_main_is_never_moved_and_a_decided_one_is_left_behind(lab: Lab) -> None:
    clone = clone_of(lab, "carol", "c3")
    waiting = push(lab, clone, "main", notes="waits")
    pushed = lab.git(clone, "rev-parse", "HEAD")

    def remote() -> str:
        return lab.git(clone, "ls-remote", "origin", "main").split()[0]

    lab.deploy('label = "by the operator"\n', "carol")
    assert remote() == pushed
    lab.post(f"/api/proposals/{waiting}/deny")
    assert lab.until(lambda: remote() == lab.ref("main", "carol"))


def test_after_a_failed_deploy_main_is_what_runs_and_the_commit_can_be_tried_again(lab: Lab) -> None:
    clone = clone_of(lab, "bob", "c6")
    id = push(lab, clone, "main", agent__toml="[start]\nexit = 3\n")
    assert lab.approve(id)["state"] == "failed"
    lab.until(lambda: lab.git(clone, "ls-remote", "origin", "main").split()[0] == lab.ref("main", "bob"))
    said = lab.hive("retry", str(id))
    assert said.code == 0, said.err
    lab.hive("deny", "--agent", "bob", "--all", "--yes")


def test_a_stale_proposal_is_replayed_with_its_author_and_takes_the_place_of_the_old_one(lab: Lab) -> None:
    clone = clone_of(lab, "alice", "c4")
    base = lab.git(clone, "rev-parse", "HEAD")
    first = push(lab, clone, "r1", notes="first")
    lab.git(clone, "reset", "-q", "--hard", base)
    second = push(lab, clone, "r2", other="second")
    assert lab.hive("rebase", str(second)).code == 4  # not stale
    lab.approve(first)
    (event,) = lab.until(lambda: [e for e in lab.events("proposals_stale", "alice") if second in e["data"]["ids"]])
    assert "`hive rebase ID`" in event["data"]["remedy"]
    assert f"alice: {second} is stale" in lab.hive("pending").out
    assert f"`hive rebase {second}` replays it" in lab.card(second)["stale"]

    said = lab.hive("rebase", str(second), "--json")
    assert said.code == 0, said.err
    card = json.loads(said.out)
    assert (card["rebased_from"], card["branch"], card["description"]) == (second, "r2", "change for r2")
    assert lab.card(second)["note"] == f"superseded by {card['id']}"
    shown = lab.git(lab.applied(), "log", "-1", "--format=%an %s %P", f"proposal/{card['id']}")
    assert shown == f"Ada change for r2 {lab.ref('main')}"
    assert lab.get(f"/api/proposals/{card['id']}/diff")["files"] == ["other"]
    assert lab.approve(card["id"])["state"] == "deployed"
    assert lab.ref("main").startswith(card["fetched_sha"])


def test_a_replay_with_conflicts_names_the_files_and_changes_nothing(lab: Lab) -> None:
    clone = clone_of(lab, "bob", "c5")
    base = lab.git(clone, "rev-parse", "HEAD")
    first = push(lab, clone, "x1", agent__toml='label = "a"\n', notes="a\n")
    lab.git(clone, "reset", "-q", "--hard", base)
    second = push(lab, clone, "x2", agent__toml='label = "b"\n', notes="b\n")
    lab.approve(first)
    before = lab.tags("bob")
    said = lab.hive("rebase", str(second))
    assert said.code == 4
    assert "both change 'agent.toml', 'notes'" in said.err
    assert "nothing was changed" in said.err
    assert "git rebase FETCH_HEAD" in said.err
    assert (lab.tags("bob"), lab.card(second)["state"]) == (before, "proposal")
    lab.post(f"/api/proposals/{second}/deny")


def test_of_two_edits_the_second_says_whose_place_it_takes(lab: Lab) -> None:
    first = lab.post("/api/agents/carol/settings", text='label = "first"\n')["id"]
    with pytest.raises(Occupied, match=rf"by operator uid \d+ at .*proposal {first}, still waits"):
        lab.post("/api/agents/carol/settings", text='label = "second"\n')
    file = lab.directory / "second.toml"
    file.write_text('label = "second"\n', encoding="utf-8")
    refused = lab.hive("edit", "carol", "--file", str(file))
    assert (refused.code, f"--replace {first}" in refused.err) == (4, True)
    assert lab.card(first)["state"] == "proposal"
    said = lab.hive("edit", "carol", "--file", str(file), "--replace", str(first))
    assert said.code == 0, said.err
    assert f"{first} is superseded; its text is kept in " in said.err
    kept = Path(said.err.split("is kept in ")[1].split("\n")[0])
    assert kept.read_text(encoding="utf-8") == 'label = "first"\n'
    kept.unlink()
    kept.parent.rmdir()
    with pytest.raises(Conflict):
        lab.post("/api/agents/carol/settings", text='label = "third"\n', replaces=first)
    lab.hive("deny", "--agent", "carol", "--all", "--yes")


def test_an_untouched_work_tree_follows_and_a_touched_one_is_left_and_reported(lab: Lab) -> None:
    tree = lab.layout.proposed_config(AgentName("alice"))
    head = tree / ".git/refs/heads/main"
    lab.deploy('label = "followed"\n')
    assert head.read_text(encoding="ascii").strip() == lab.ref("main")
    assert (tree / "agent.toml").read_text(encoding="utf-8") == 'label = "followed"\n'
    (tree / "notes-of-the-manager").write_text("mine", encoding="utf-8")
    before = lab.ref("main")
    lab.deploy('label = "not followed"\n')
    assert head.read_text(encoding="ascii").strip() == before
    (event,) = lab.events("work_tree_behind", "alice")
    assert event["data"]["reason"] == "it has changes that are not committed"
    assert any("your work tree stays behind" in body for body in lab.inbox(MANAGER))
