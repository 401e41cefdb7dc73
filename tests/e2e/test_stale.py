"""Proposals that became hopeless say so before anybody approves them, and hold up nobody."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from api.cli.client.follow import remedy
from meta.applied.source import Source
from meta.errors import Conflict
from meta.names import AgentName
from meta.proposed import push_repo
from reconciler.proposals.limits import PENDING_MOST
from reconciler.proposals.staleness import rebase_hint
from tests.support.lab import Lab

SETTINGS = {"HIVE_RESYNC": "600", "HIVE_FINDS_PER_MINUTE": "1000"}
NOBODY = 65_534
pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob", "carol"), settings=SETTINGS)]


def push(lab: Lab, branch: str, agent: str = "alice") -> int:
    """Commit on top of applied/main and push; the id of its card."""
    clone = lab.commit(f'label = "{branch}"\n', agent)
    repo = push_repo.path_of(lab.layout, AgentName(agent))
    lab.git(clone, "push", "-q", str(repo), f"HEAD:refs/heads/{branch}")
    return card_of(lab, lab.git(clone, "rev-parse", "HEAD"))


def card_of(lab: Lab, sha: str) -> int:
    def look() -> int | None:
        return next((card["id"] for card in lab.get("/api/proposals") if card["fetched_sha"] == sha), None)

    return lab.until(look)


def test_of_two_pushed_from_one_base_the_second_is_not_approved_and_says_rebase(lab: Lab) -> None:
    first, second = push(lab, "t1"), push(lab, "t2")
    assert [card["stale"] for card in lab.get("/api/proposals", agent="alice")] == [None, None]
    lab.approve(first)
    said = lab.hive("approve", str(second))
    assert said.code == 4, said
    assert f"{second} is stale" in said.err
    assert "rebase onto applied/main: `git fetch" in said.err
    card = lab.card(second)
    assert (card["state"], card["branch"]) == ("proposal", "t2")
    (row,) = (line for line in lab.hive("pending").out.splitlines() if line.startswith(f"{second} "))
    assert "stale: rebase" in row
    assert "t2" in row
    (shown,) = (card for card in json.loads(lab.hive("pending", "--json").out) if card["id"] == second)
    assert "rebase" in shown["stale"]
    assert "rebase onto applied/main" in lab.hive("diff", str(second)).out
    assert f"alice: {second} is stale, made from an older commit: rebase" in lab.hive("status").out
    lab.post(f"/api/proposals/{second}/deny")


def test_waiting_for_one_that_slips_by_ends_with_the_hint_to_rebase(lab: Lab) -> None:
    first, second = push(lab, "slips-1"), push(lab, "slips-2")
    lab.approve(first)
    lab.git(lab.applied(), "tag", f"approved/{second}", f"proposal/{second}")  # not through hive, which refuses it
    lab.post("/api/reconcile", agent="alice")
    lab.settle("alice")
    card = lab.card(second)
    assert card["state"] == "failed"
    assert remedy(card) == card["stale"]
    assert "git push -f" in remedy(card)


def test_the_history_says_who_decided_what_it_was_and_why_it_ended(lab: Lab) -> None:
    lab.spawn("dora")
    denied, plain = push(lab, "history", "dora"), push(lab, "history-2", "dora")
    lab.hive("deny", str(denied), "-m", "too broad")
    lab.hive("deny", str(plain))
    lines = {line.split()[0]: line for line in lab.hive("history", "dora").out.splitlines()}
    by = f"operator {pwd.getpwuid(os.geteuid()).pw_name} (uid {os.geteuid()})"
    assert by in lines[str(denied)]
    assert lines[str(denied)].endswith("change  too broad")
    assert lines[str(plain)].endswith("change")
    assert lab.ref("main", "dora")[:10] in lines["0"]


def test_the_diff_of_many_commits_names_ten_and_says_how_many_more(lab: Lab) -> None:
    clone = lab.commit('label = "many"\n', "bob")
    for number in range(14):
        lab.git(clone, "commit", "-q", "--allow-empty", "-m", f"step {number}")
    id = lab.post("/api/proposals", agent="bob", source=str(clone))["id"]
    shown = lab.hive("diff", str(id)).out.splitlines()
    assert sum(line.startswith("  commit ") for line in shown) == 10
    assert "  and 5 more" in shown
    single = push(lab, "single", "bob")
    assert [line for line in lab.hive("diff", str(single)).out.splitlines() if line.strip() == "change"] == ["  change"]
    lab.hive("deny", "--agent", "bob", "--all", "--yes")


def test_one_that_goes_on_from_what_was_deployed_is_not_stale(lab: Lab) -> None:
    first = push(lab, "base")
    clone = lab.directory / "w" / "alice"
    lab.git(clone, "commit", "-q", "--allow-empty", "-m", "more")
    lab.git(clone, "push", "-q", str(push_repo.path_of(lab.layout, AgentName("alice"))), "HEAD:refs/heads/more")
    second = card_of(lab, lab.git(clone, "rev-parse", "HEAD"))
    lab.approve(first)
    assert lab.card(second)["stale"] is None
    assert lab.approve(second)["state"] == "deployed"


def test_while_another_is_on_its_way_only_what_goes_on_from_it_is_approved(lab: Lab) -> None:
    first, second = push(lab, "way-1", "bob"), push(lab, "way-2", "bob")
    lab.git(lab.applied("bob"), "tag", f"approved/{first}", f"proposal/{first}")
    with pytest.raises(Conflict, match=rf"{second} does not descend from {first} .*being deployed|{second} is stale"):
        lab.post(f"/api/proposals/{second}/approve")
    assert lab.card(second)["state"] == "proposal"
    lab.post(f"/api/proposals/{second}/deny")
    lab.settle("bob")


def test_stale_ones_do_not_count_towards_those_that_may_wait(lab: Lab) -> None:
    ids = [lab.propose(f'label = "{number}"\n', "carol") for number in range(PENDING_MOST)]
    with pytest.raises(Conflict, match="the limit is"):
        lab.propose('label = "one more"\n', "carol")
    lab.approve(ids[0])
    assert sum(card["stale"] is not None for card in lab.get("/api/proposals", agent="carol")) == PENDING_MOST - 1
    assert lab.propose('label = "one more"\n', "carol") > ids[-1]
    assert lab.hive("deny", "--agent", "carol", "--all", "--yes").code == 0
    assert lab.get("/api/proposals", agent="carol") == []


def test_the_hint_for_a_pusher_works_when_it_is_followed_to_the_letter(lab: Lab) -> None:
    first, second = push(lab, "h1"), push(lab, "h2")
    lab.approve(first)
    hint = lab.card(second)["stale"]
    found = re.search("`(git .+?)`.*?`(git .+?)`", hint)
    assert found is not None, hint
    clone = lab.directory / "w" / "alice"
    for words in found[1].split(" && "):
        program, *rest = shlex.split(words)
        assert program == "git"
        if rest[0] == "rebase":
            rest[1:1] = ["-X", "theirs"]  # both changed the same line here
        lab.git(clone, *rest)
    program, *rest = shlex.split(found[2])
    lab.git(clone, *rest, str(push_repo.path_of(lab.layout, AgentName("alice"))), "HEAD:refs/heads/h2")
    new = card_of(lab, lab.git(clone, "rev-parse", "HEAD"))
    assert lab.approve(new)["state"] == "deployed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_pusher_of_another_uid_may_fetch_what_the_hint_says(lab: Lab) -> None:
    """With the one setting that docs/howto/propose.md names."""
    home = lab.directory / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f"[safe]\n\tdirectory = {lab.applied()}\n[user]\n\tname = n\n\temail = n@n\n", encoding="utf-8"
    )
    os.chown(home, NOBODY, NOBODY)

    def git(folder: Path, *words: str) -> None:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr

    git(home, "clone", "-q", str(lab.applied()), "alice")
    git(home / "alice", "commit", "-q", "--allow-empty", "-m", "mine")
    hint = rebase_hint(AgentName("alice"), Source.parse("proposed/push.git#mine"), lab.applied())
    for words in hint.split("`")[1].split(" && "):
        git(home / "alice", *shlex.split(words)[1:])
