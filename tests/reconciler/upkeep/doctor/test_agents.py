"""What `hive doctor` says about agents that need somebody, and about what they propose from."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from meta.config import Config
from meta.git import stale_locks
from reconciler.upkeep.doctor.checks.base import AgentRow, Subject, Verdict
from reconciler.upkeep.doctor.examine import failed
from tests.reconciler.upkeep.doctor.looks import ALICE, GONE, WELL, aged, look, only, whole_host


def says(subject: Subject, *agents: AgentRow, notes: tuple[str, ...] = ()) -> None:
    """The daemon answers so."""
    subject.held = True
    subject.daemon = replace(WELL, state=str(subject.layout.state), agents=agents, notes=notes)


@pytest.mark.parametrize("phase", ["failed", "rollback-failed", "disagrees"])
async def test_an_agent_that_was_given_up_fails_with_what_to_do(subject: Subject, phase: str) -> None:
    says(subject, AgentRow("alice", phase, ("why",)), AgentRow("bob", "running"))
    row = await only(subject, "agents", Verdict.FAIL, f"alice is {phase}")
    assert "why" in row.text
    assert "alice" in row.remedy


UNDER_WAY = ("deploying 3: drain", "waits for its turn to end, at most 9 s")


async def test_what_an_agent_has_to_say_is_told_and_a_deploy_under_way_is_not(subject: Subject) -> None:
    refused = "proposed/push.git#main at 0123 is no proposal: too large"
    says(
        subject,
        AgentRow("alice", "running", (refused,)),
        AgentRow("bob", "draining", UNDER_WAY),
    )
    assert (await only(subject, "agents", Verdict.WARN, refused)).text == f"alice: {refused}"
    says(subject, AgentRow("alice", "needs-login"))
    await only(subject, "agents", Verdict.WARN, "needs-login")
    says(subject, AgentRow("alice", "running"))
    await only(subject, "agents", Verdict.OK, "none of 1")


async def test_an_agent_whose_condition_has_the_phase_and_the_remedy_is_in_one_row(subject: Subject) -> None:
    says(subject, AgentRow("alice", "needs-login", ("needs-login: no login; `hive login alice` logs it in",)))
    await only(subject, "agents", Verdict.WARN, "`hive login alice`")


async def test_a_note_that_no_other_check_says_is_told(subject: Subject) -> None:
    says(subject, notes=("limits not enforced", "rebuild --all: failed at alice"))
    await only(subject, "status", Verdict.WARN, "rebuild --all")
    says(subject)
    await only(subject, "status", Verdict.OK, "nothing")


def remember(subject: Subject, **fields: object) -> None:
    with closing(sqlite3.connect(subject.layout.database)) as connection, connection:
        connection.execute("DELETE FROM memos WHERE agent = 'alice'")
        connection.execute("INSERT INTO memos VALUES ('alice', ?)", (json.dumps(fields),))


async def test_without_a_daemon_who_crashed_too_often_is_found_all_the_same(subject: Subject) -> None:
    assert not failed(await look(subject, "agents"))
    remember(subject, crashes=subject.config.crash_limit)
    await only(subject, "agents", Verdict.FAIL, "crashed 5 times")
    remember(subject, rollback_failed=True)
    await only(subject, "agents", Verdict.FAIL, "rollback-failed")
    remember(subject, crashes=1)
    await only(subject, "agents", Verdict.OK, "2 should run")


async def test_without_a_daemon_who_should_run_and_does_not_is_told_with_how_it_ended(subject: Subject) -> None:
    subject.backend = "local"
    place = subject.layout.backend("local") / ALICE
    place.mkdir(parents=True)
    run = {"nonce": "n", "boot": "b", "supervisor": {"pid": GONE, "start": 1}}
    (place / "run.json").write_text(json.dumps(run), encoding="ascii")
    await only(subject, "agents", Verdict.WARN, "alice should run, and its container does not run")
    (place / "exit.json").write_text(json.dumps({"nonce": "n", "code": 7, "signal": None}), encoding="ascii")
    await only(subject, "agents", Verdict.WARN, "exited with code 7")


# what they propose from
async def test_a_git_directory_that_is_none_any_more_fails(subject: Subject) -> None:
    await only(subject, "proposed", Verdict.OK, "are complete")
    git = subject.layout.proposed_config(ALICE) / ".git"
    shutil.rmtree(git)
    await only(subject, "proposed", Verdict.FAIL, f"{git} is missing")
    os.mkfifo(git)
    await only(subject, "proposed", Verdict.FAIL, f"{git} is not a directory but a pipe")
    git.unlink()
    git.symlink_to("/")
    await only(subject, "proposed", Verdict.FAIL, "but a symlink")


async def test_a_work_tree_or_push_repo_of_another_kind_fails_and_a_missing_one_is_made_again(subject: Subject) -> None:
    tree, push = subject.layout.proposed_config(ALICE), subject.layout.push_repo(ALICE)
    (push / "HEAD").unlink()
    await only(subject, "proposed", Verdict.FAIL, "not a push repo as hive made it")
    shutil.rmtree(push)
    shutil.rmtree(tree)
    await only(subject, "proposed", Verdict.OK, "are complete")
    tree.touch()
    await only(subject, "proposed", Verdict.FAIL, "is not a work tree but a file")


async def test_a_push_repo_that_takes_too_much_is_named_with_what_to_do(subject: Subject) -> None:
    subject.config = Config(max_pack_bytes=2**20)
    pack = subject.layout.push_repo(ALICE) / "objects/pack" / f"pack-{'0' * 40}.pack"
    pack.write_bytes(b"x" * 5 * 2**20)
    row = await only(subject, "proposed", Verdict.WARN, "more than 4 times HIVE_MAX_PACK_BYTES")
    assert "--delete BRANCH" in row.remedy
    pack.unlink()
    await only(subject, "proposed", Verdict.OK, "are complete")


async def test_a_lock_of_a_killed_push_is_removed_once_no_process_works_in_the_repo(subject: Subject) -> None:
    push = subject.layout.push_repo(ALICE)
    locks = [push / "packed-refs.lock", push / "refs/heads/main.lock"]
    for lock in locks:
        lock.touch()
    await only(subject, "proposed", Verdict.OK, "are complete")
    for lock in locks:
        aged(lock, stale_locks.STALE + 60)
    assert sum(row.fixable for row in await look(subject, "proposed")) == 2
    with subprocess.Popen(["cat"], cwd=push, stdin=subprocess.PIPE) as process:
        assert "a process works in" in (await look(subject, "proposed", fix=True))[0].text
        process.communicate()
    await look(subject, "proposed", fix=True)
    assert not any(lock.exists() for lock in locks)
    await only(subject, "proposed", Verdict.OK, "are complete")


async def test_a_push_group_that_is_missing_or_has_no_say_is_told(subject: Subject) -> None:
    subject.config = Config(push_group="pushers")
    subject.host = whole_host(groups=lambda _: None)
    row = await only(subject, "proposed", Verdict.WARN, "there is no group pushers")
    assert "groupadd --system pushers" in row.remedy
    subject.host = whole_host(groups=lambda _: GONE)
    await only(subject, "proposed", Verdict.WARN, "the push repo of alice, manager is not of the group pushers")


async def test_a_damaged_database_that_was_set_aside_is_told_until_it_is_moved_away(subject: Subject) -> None:
    aside = subject.layout.state / "hive.db.corrupt-20260101T000000Z"
    aside.touch()
    Path(f"{aside}-wal").touch()
    row = await only(subject, "database", Verdict.WARN, f"is now {aside}:")
    assert "move it out" in row.remedy
    later = subject.layout.state / "hive.db.corrupt-20260102T000000Z"
    later.touch()
    await only(subject, "database", Verdict.WARN, f"is now {later} (and 1 before it)")
    aside.unlink()
    later.unlink()
    await only(subject, "database", Verdict.OK, "sound")
