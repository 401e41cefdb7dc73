"""What ends a proposal before its approval gives its disk back; what is pushed next does not need it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from meta.errors import NotFound
from meta.names import AgentName
from meta.proposed import push_prune, push_repo
from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob"), settings={"HIVE_FINDS_PER_MINUTE": "1000"})]
SIZE = 2 * 2**20
TAG_BYTES = 40_000
"""Bytes that the tags of six ids may take."""


def size(lab: Lab, agent: str = "alice") -> int:
    return sum(path.stat().st_size for path in lab.applied(agent).rglob("*") if path.is_file())


def push(lab: Lab, text: str, *, on: str = "", agent: str = "alice") -> str:
    """Force-push a commit with SIZE random bytes to one branch; return the commit."""
    clone = lab.commit(f'label = "{text}"\n', agent)
    if on:
        lab.git(clone, "reset", "-q", "--hard", on)
    (clone / "notes").write_bytes(os.urandom(SIZE))
    lab.git(clone, "add", "-A")
    lab.git(clone, "commit", "-q", "-m", text)
    where = push_repo.path_of(lab.layout, AgentName(agent))
    lab.git(clone, "push", "-q", "-f", str(where), "HEAD:refs/heads/big")
    return lab.git(clone, "rev-parse", "HEAD")


def id_of(lab: Lab, sha: str, agent: str = "alice") -> int:
    """Return the id of a commit, once it waits alone."""

    def alone() -> int | None:
        cards = lab.get("/api/proposals", agent=agent)
        return int(cards[0]["id"]) if [card["fetched_sha"] for card in cards] == [sha] else None

    return lab.until(alone)


def fsck(lab: Lab, repo: Path) -> str:
    return lab.git(repo, "fsck", "--full", "--strict", "--no-dangling")


def test_six_force_pushes_to_one_branch_and_a_denial_leave_the_repo_as_large_as_before(lab: Lab) -> None:
    before = size(lab)
    for number in range(5):
        id_of(lab, push(lab, f"big {number}"))
    sha = push(lab, "big 5")
    id = id_of(lab, sha)
    assert size(lab) < before + 2 * SIZE  # one waits
    assert sha in lab.git(lab.applied(), "show", "--stat", f"proposal/{id}")
    lab.post(f"/api/proposals/{id}/deny", reason="too big")
    assert size(lab) < before + TAG_BYTES
    assert fsck(lab, lab.applied()) == ""


def test_a_push_built_on_a_superseded_one_is_whole_and_is_deployed(lab: Lab) -> None:
    older = push(lab, "older")
    old = id_of(lab, older)
    newer = push(lab, "newer", on=older)
    new = id_of(lab, newer)
    assert lab.card(old)["status"] == "denied"
    assert fsck(lab, lab.applied()) == ""
    assert len(lab.get(f"/api/proposals/{new}/diff")["commits"]) >= 2
    assert lab.approve(new, unseen=True)["state"] == "deployed"
    assert fsck(lab, lab.applied()) == ""


def test_diff_and_audit_say_that_a_denied_commit_is_no_longer_kept(lab: Lab) -> None:
    sha = push(lab, "unwanted", agent="bob")
    id = id_of(lab, sha, "bob")
    lab.post(f"/api/proposals/{id}/deny", reason="no")
    said = lab.hive("diff", str(id))
    assert said.code == 0
    assert f"commit {sha} of {id} is no longer kept" in said.out
    assert "unwanted" in said.out
    with pytest.raises(NotFound, match=f"commit {sha} of {id} is no longer kept"):
        lab.get("/api/agents/bob/diff", **{"from": id})
    assert f"commit {sha} is no longer kept: {id} was denied" in lab.hive("audit", "verify").out
    card = lab.card(id)
    assert (card["fetched_sha"], card["source"], card["note"]) == (sha, "proposed/push.git#big", "no")
    assert (card["description"], card["proposed_by"]) == ("unwanted", f"push by uid {os.geteuid()}")
    assert "ok" in lab.hive("doctor").out


def test_a_denied_push_is_fetched_again_by_retry_while_it_is_there(lab: Lab) -> None:
    sha = push(lab, "again", agent="bob")
    id = id_of(lab, sha, "bob")
    lab.post(f"/api/proposals/{id}/deny", reason="not now")
    again = lab.post(f"/api/proposals/{id}/retry")["id"]
    assert lab.ref(f"proposal/{again}", "bob") == sha
    lab.post(f"/api/proposals/{again}/deny", reason="not now either")
    bare = push_repo.path_of(lab.layout, AgentName("bob"))
    lab.git(bare, "-c", "safe.directory=*", "update-ref", "-d", "refs/heads/big")
    lab.git(bare, "-c", "safe.directory=*", "gc", "-q", "--prune=now")
    with pytest.raises(NotFound, match=f"{sha} of {again} is no longer kept"):
        lab.post(f"/api/proposals/{again}/retry")


def test_what_was_retried_and_deployed_needs_no_objects_of_another_proposal(lab: Lab) -> None:
    """`below` is the parent of `above`, so the pack of `above` has it too, until `above` is denied."""
    below = push(lab, "below", agent="bob")
    id = id_of(lab, below, "bob")
    clone, bare = lab.directory / "w/bob", push_repo.path_of(lab.layout, AgentName("bob"))
    lab.git(clone, "commit", "-q", "--allow-empty", "-m", "above")
    lab.git(clone, "push", "-q", "-f", str(bare), "HEAD:refs/heads/above")
    tip = lab.git(clone, "rev-parse", "HEAD")
    ids = lab.until(lambda: [c["id"] for c in lab.get("/api/proposals", agent="bob") if c["fetched_sha"] == tip])
    above = ids[0]
    lab.post(f"/api/proposals/{id}/deny", reason="not now")
    again = lab.post(f"/api/proposals/{id}/retry")["id"]
    assert lab.approve(again, unseen=True)["state"] == "deployed"
    lab.post(f"/api/proposals/{above}/deny", reason="no")
    assert fsck(lab, lab.applied("bob")) == ""
    assert lab.git(lab.applied("bob"), "rev-parse", "main") == below


def test_the_objects_of_a_destroyed_agents_proposal_go_as_well(lab: Lab) -> None:
    lab.spawn("carol")
    before = size(lab, "carol")
    id_of(lab, push(lab, "last", agent="carol"), "carol")
    lab.do("carol", "destroy")
    assert size(lab, "carol") < before + TAG_BYTES
    assert fsck(lab, lab.applied("carol")) == ""


def test_a_denied_branch_that_was_deleted_gives_the_disk_of_the_push_repo_back(lab: Lab) -> None:
    bare = push_repo.path_of(lab.layout, AgentName("bob"))
    sha = push(lab, "deleted", agent="bob")
    lab.post(f"/api/proposals/{id_of(lab, sha, 'bob')}/deny", reason="no")
    for path in (bare / "objects").rglob("*"):
        os.utime(path, (time.time() - 2 * push_prune.EXPIRE,) * 2)
    before = sum(path.stat().st_size for path in bare.rglob("*") if path.is_file())
    lab.git(lab.commit('label = "other"\n', "bob"), "push", "-q", str(bare), "--delete", "big")
    lab.until(lambda: sum(path.stat().st_size for path in bare.rglob("*") if path.is_file()) < before - SIZE or None)
    assert push_repo.complaint(lab.layout, AgentName("bob")) is None
