"""Bad input: each gets a clear error that names the thing and the remedy, nothing is lost, and bob goes on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from meta.errors import Conflict
from meta.names import AgentName
from reconciler.proposals.limits import PENDING_MOST
from tests.support.forked_hive import run_hive
from tests.support.lab import WAIT, Lab, fresh_lab

GOOD = 'label = "good"\n'
LINE_LIMIT = 4096
NOWHERE = "1" * 40

pytestmark = pytest.mark.bwrap


@pytest.fixture(scope="module")
def hive() -> Iterator[Lab]:
    """No resync while a test looks at something broken."""
    settings = {"HIVE_HEALTH_DEADLINE": "10", "HIVE_RESYNC": "60", "HIVE_MAX_LINE_BYTES": str(LINE_LIMIT)}
    with fresh_lab("b", settings) as made:
        made.spawn("alice", "bob")
        yield made
        assert made.deploy(GOOD, "bob")["state"] == "deployed"


@pytest.fixture
def unharmed(hive: Lab) -> Iterator[Lab]:
    """Whatever a test does: bob runs on, alice too, none of her tags is lost, and nobody is held up."""
    before, tags = hive.agent("bob"), hive.tags()
    yield hive
    assert hive.agent("bob")["pid"] == before["pid"]
    assert hive.agent()["phase"] == "running"
    assert tags <= hive.tags()
    hive.post("/api/reconcile", agent="bob")
    hive.settle()
    assert [row["step"] for row in hive.get("/api/plan")] == ["none"] * 3


# names
NAMES = {
    "hive": "it is reserved for hive itself",
    "operator": "it is reserved for hive itself",
    "abcdefghijkl": "it has 12 characters, the limit is 11",
    "web-": "it ends in '-'",
    "Web": "it must begin with a lower-case letter",
    "a_b": "only a-z, 0-9 and '-' are allowed",
}
"""No name -> the rule that it breaks."""


def test_a_bad_name_is_refused_with_the_rule_that_it_breaks(unharmed: Lab) -> None:
    for name, rule in NAMES.items():
        for command in ("spawn", "request-spawn", "start", "propose"):
            said = unharmed.hive(command, name)
            assert said.code == 2, said
            assert f"{name!r} is no agent name: {rule}" in said.err
            assert "try: choose a name like 'alice'" in said.err
        assert rule in unharmed.host(cmd="spawn", name=name)["error"]


def test_an_agent_that_does_not_exist_is_named(unharmed: Lab) -> None:
    for command in (
        "propose",
        "start",
        "stop",
        "restart",
        "rebuild",
        "rollback",
        "destroy",
        "plan",
        "logs",
        "reconcile",
        "send",
    ):
        more = {"send": ("hello",), "destroy": ("--yes",)}.get(command, ())
        said = unharmed.hive(command, "nobody", *more)
        assert said.code == 3, (command, said)
        assert "there is no agent nobody" in said.err
        assert "try: see `hive list`" in said.err


def test_a_proposal_that_does_not_exist_is_named(unharmed: Lab) -> None:
    for words in (("approve", "99"), ("deny", "99"), ("cancel", "99", "--yes"), ("diff", "99")):
        said = unharmed.hive(*words)
        assert (said.code, "no proposal 99" in said.err, "try: " in said.err) == (3, True, True), said


def test_the_id_0_needs_the_name_of_its_agent(unharmed: Lab) -> None:
    for command, *more in (("approve",), ("deny",), ("cancel", "--yes"), ("diff",)):
        said = unharmed.hive(command, "0", *more)
        assert said.code == 2, said
        assert "each agent's first spawn has the id 0 (alice, bob, manager)" in said.err
        assert "try: name the agent: `--agent NAME`" in said.err
        said = unharmed.hive(command, "0", "--agent", "nobody", *more)
        assert (said.code, "there is no agent nobody" in said.err) == (3, True), said
    assert "proposal 0 for bob" in unharmed.hive("diff", "0", "--agent", "bob").out
    said = unharmed.hive("cancel", "0", "--agent", "bob", "--yes")
    assert (said.code, "0 is already committed" in said.err) == (4, True), said


def test_only_so_many_proposals_of_one_agent_wait_and_the_rest_is_refused(unharmed: Lab) -> None:
    clone = unharmed.commit(GOOD)
    commits = []
    for number in range(PENDING_MOST + 3):
        unharmed.git(clone, "commit", "-q", "--allow-empty", "-m", f"number {number}")
        commits.append(unharmed.git(clone, "rev-parse", "HEAD"))

    with ThreadPoolExecutor(8) as pool:
        errors = [said for said in pool.map(partial(_propose, unharmed, clone), commits) if said]
    waiting = [card["id"] for card in unharmed.get("/api/proposals", agent="alice")]
    assert len(waiting) == PENDING_MOST
    assert len(errors) == 3
    for summary, hint in errors:
        assert f"alice has {PENDING_MOST} proposals that wait for a decision" in summary
        assert f"hive deny {waiting[0]}" in hint
    for id in waiting:
        unharmed.post(f"/api/proposals/{id}/deny")


def _propose(lab: Lab, clone: Path, commit: str) -> tuple[str, str] | None:
    try:
        lab.post("/api/proposals", agent="alice", source=str(clone), commit=commit)
    except Conflict as error:
        return error.summary, error.hint
    return None


# commits and repos
def test_a_commit_that_does_not_exist_is_named(unharmed: Lab) -> None:
    for commit in (NOWHERE, NOWHERE[:7]):
        said = unharmed.hive("propose", "alice", commit)
        assert (said.code, commit[:12] in said.err, "try: " in said.err) == (3, True, True), said


def test_a_branch_instead_of_a_commit_is_refused(unharmed: Lab) -> None:
    said = unharmed.hive("propose", "alice", "main")
    assert said.code == 2
    assert "'main' is no commit id" in said.err
    assert "hive takes commits, not branches or tags" in said.err
    clone = unharmed.commit(GOOD)
    unharmed.git(clone, "branch", "-f", "abcdef0")
    said = unharmed.hive("propose", "alice", "abcdef0", "--from", str(clone))
    assert (said.code, "abcdef0" in said.err) == (2, True), said


def test_what_is_no_git_repo_is_named(unharmed: Lab) -> None:
    for path, code in ((unharmed.directory / "nothing", 3), (unharmed.directory, 2), (unharmed.log, 2)):
        said = unharmed.hive("propose", "alice", "--from", str(path))
        assert (said.code, str(path) in said.err, "try: " in said.err) == (code, True, True), said


def test_a_proposed_repo_that_was_deleted_is_named_and_rebuild_makes_it_anew(unharmed: Lab) -> None:
    tree = unharmed.layout.proposed_config(AgentName("alice"))
    tree.rename(unharmed.directory / "gone")
    said = unharmed.hive("propose", "alice")
    assert (said.code, f"there is no repo at {tree}" in said.err, "hive rebuild" in said.err) == (3, True, True), said
    unharmed.do("alice", "rebuild")
    said = unharmed.hive("propose", "alice")
    assert (said.code, "is what alice has already" in said.err) == (2, True), said


@pytest.mark.parametrize("damage", ["HEAD", "object"])
def test_a_proposed_repo_that_is_corrupted_is_named_and_a_new_one_can_be_made(unharmed: Lab, damage: str) -> None:
    tree = unharmed.layout.proposed_config(AgentName("alice"))
    if damage == "HEAD":
        (tree / ".git" / "HEAD").write_bytes(b"\0\xff garbage")
    else:
        for path in (tree / ".git" / "objects").rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"garbage")
    said = unharmed.hive("propose", "alice")
    assert (said.code, str(tree) in said.err) == (2, True), said
    assert f"try: move {tree} away, then `hive rebuild alice` makes a new one" in said.err
    tree.rename(unharmed.directory / f"corrupted-{damage}")
    unharmed.do("alice", "rebuild")
    assert "is what alice has already" in unharmed.hive("propose", "alice").err


def test_a_commit_that_does_not_descend_from_main_is_refused_when_proposed(unharmed: Lab) -> None:
    clone = unharmed.commit(GOOD)
    unharmed.git(clone, "checkout", "-q", "--orphan", "other")
    unharmed.git(clone, "commit", "-q", "-m", "no ancestor")
    said = unharmed.hive("propose", "alice", "--from", str(clone))
    assert said.code == 4, said
    assert "does not descend from applied/main" in said.err
    assert "rebase onto applied/main" in said.err
    unharmed.git(clone, "checkout", "-q", "main")


def test_an_approval_that_slips_by_fails_when_it_is_to_be_built_and_says_rebase(unharmed: Lab) -> None:
    first, second = unharmed.propose('label = "first"\n'), unharmed.propose('label = "second"\n')
    unharmed.approve(first)
    # not through hive, which refuses it
    unharmed.git(unharmed.applied(), "tag", f"approved/{second}", f"proposal/{second}")
    unharmed.post("/api/reconcile", agent="alice")
    unharmed.settle("alice")
    assert [unharmed.card(id)["state"] for id in (first, second)] == ["deployed", "failed"]
    assert "does not descend from applied/main" in unharmed.card(second)["note"]
    assert "rebase onto applied/main and propose again" in unharmed.told(f"failed/{second}")
    assert "rebase onto applied/main: `git fetch" in unharmed.card(second)["stale"]


# settings
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('lable = "x"\n', "agent.toml: lable: unknown key, did you mean 'label'?"),
        ('[limits]\nturn_seconds = "3"\n', 'agent.toml: limits.turn_seconds: must be a number, not "3"'),
        ("label = 3\n", "agent.toml: label: must be text, not 3"),
        ("label =\n", "agent.toml: not TOML"),
    ],
)
def test_settings_that_are_wrong_fail_the_build_with_the_key_and_leave_the_agent_alone(
    unharmed: Lab, text: str, what: str
) -> None:
    before = unharmed.agent()["pid"]
    id = unharmed.propose(text)
    assert what in unharmed.hive("diff", str(id)).out
    said = unharmed.hive("approve", str(id), "--wait")
    assert (said.code, what in said.err) == (1, True), said
    told = unharmed.told(f"failed/{id}")
    assert told.count(what) == 1, told
    assert unharmed.agent()["pid"] == before


# lines
BAD_LINES = {
    b"no json at all\n": "JSON",
    b"[1, 2]\n": "object",
    b'{"cmd": "dance"}\n': "unknown cmd 'dance'",
    b'{"cmd": "approve", "id": "3"}\n': "id",
    b'{"cmd": "spawn"}\n': "name",
    b'{"cmd": "spawn", "name": "' + b"x" * LINE_LIMIT + b'"}\n': f"the line is longer than {LINE_LIMIT} bytes",
    b"\xff\xfe\n": "JSON",
}


def test_a_bad_line_on_a_socket_is_answered_and_the_connection_lives_on(unharmed: Lab) -> None:
    with unharmed.lines(unharmed.layout.host_socket) as ask:
        for line, what in BAD_LINES.items():
            answer = ask(line)
            assert (answer["ok"], what in answer["error"]) == (False, True), (line[:60], answer)
        assert ask({"cmd": "list"})["agents"] == ["alice", "bob", "manager"]
    with unharmed.lines(unharmed.layout.mcp_socket(AgentName("alice"))) as ask:
        assert "JSON" in ask(b"no json at all\n")["message"]
        assert f"longer than {LINE_LIMIT} bytes" in ask(b"x" * (LINE_LIMIT + 1) + b"\n")["message"]
        assert ask({"cmd": "whoami"})["name"] == "alice"


def test_a_half_sent_line_is_dropped_and_in_nobodys_way(unharmed: Lab) -> None:
    with unharmed.lines(unharmed.layout.host_socket) as half:
        with unharmed.lines(unharmed.layout.host_socket) as other:
            assert other({"cmd": "list"})["ok"]
        with pytest.raises(ConnectionError):
            half_and_hang_up(unharmed, b'{"cmd": "destroy", "name": "alice"}')
        assert half(b'{"cmd": "list"' + b"}\n")["ok"]
    unharmed.settle("alice")


def half_and_hang_up(lab: Lab, line: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WAIT)
        sock.connect(str(lab.layout.host_socket))
        sock.sendall(line)
        sock.shutdown(socket.SHUT_WR)
        if not sock.recv(1):
            raise ConnectionError("no answer")


# the daemon itself
def serve(lab: Lab) -> subprocess.CompletedProcess[str]:
    """`hive serve` on the lab's state directory, as a process of its own."""
    command = ["serve", "--state", str(lab.layout.state), "--runtime", str(lab.directory / "second")]
    return run_hive(command, os.environ, WAIT)


def test_a_second_daemon_on_one_state_directory_is_refused_and_the_first_goes_on(unharmed: Lab) -> None:
    files = sorted(Path(unharmed.layout.state).rglob("*.sock"))
    done = serve(unharmed)
    assert done.returncode == 4
    assert f"another daemon (pid {unharmed.pid}) has {unharmed.layout.state}" in done.stderr
    assert "try: stop it first, or use another --state" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(Path(unharmed.layout.state).rglob("*.sock")) == files
    assert unharmed.host(cmd="list")["ok"]


def test_a_command_without_a_daemon_says_how_to_start_one(unharmed: Lab) -> None:
    unharmed.stop()
    said = unharmed.hive("status")
    assert said.code == 5
    assert "no daemon answers" in said.err
    assert "start one with `hive serve" in said.err
    unharmed.start()
    unharmed.settle()
    assert json.loads(unharmed.hive("list", "--json").out)
