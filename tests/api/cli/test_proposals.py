"""Deciding about several proposals, and how they and their history are shown."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING

import pytest

from api.cli.client.exit_codes import Code
from api.cli.render.status import ids
from api.cli.render.tables import count_cells, wrap
from api.words import users
from api.words.events import describe
from meta.names import AgentName
from reconciler.views import RefusedTip

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ROOT = "operator root (uid 0)"
ME = f"operator uid {os.geteuid()}"
NAME = pwd.getpwuid(os.geteuid()).pw_name


# several at once
async def test_several_are_denied_at_once_with_one_reason(hive: Hive) -> None:
    for _ in range(3):
        hive.fake.add()
    code, out, err = await hive.hive("deny", "1", "3", "-m", "too broad")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["proposal 1 for alice is denied", "proposal 3 for alice is denied"]
    assert hive.fake.calls == [("deny", 1, ME, "too broad"), ("deny", 3, ME, "too broad")]


async def test_of_several_one_that_does_not_work_holds_up_nobody_and_the_end_is_bad(hive: Hive) -> None:
    for _ in range(2):
        hive.fake.add()
    code, out, err = await hive.hive("approve", "1", "9", "2", "--json")
    assert code == Code.FAILED
    assert [card["id"] for card in json.loads(out)] == [1, 2]
    assert "there is no proposal 9" in err
    assert "1 of 3 could not be approved" in err


async def test_a_single_one_answers_as_ever(hive: Hive) -> None:
    hive.fake.add()
    _, out, _ = await hive.hive("approve", "1", "--json")
    assert json.loads(out)["id"] == 1
    assert (await hive.hive("deny", "9"))[0] == Code.NOT_FOUND


async def test_all_of_an_agent_are_denied_only_when_somebody_says_yes(hive: Hive) -> None:
    for _ in range(2):
        hive.fake.add()
    code, _, err = await hive.hive("deny", "--agent", "alice", "--all")
    assert (code, "add --yes" in err, hive.fake.calls) == (Code.USAGE, True, [])
    code, out, _ = await hive.hive("deny", "--agent", "alice", "--all", "--yes", "--json")
    assert (code, [card["id"] for card in json.loads(out)]) == (0, [1, 2])
    code, out, _ = await hive.hive("deny", "--agent", "manager", "--all", "--yes")
    assert (code, out) == (0, "nothing of manager is pending\n")


@pytest.mark.parametrize("words", ["deny", "deny --all", "deny 1 --all --agent alice", "approve 1 2 --sha 1111111"])
async def test_what_is_to_be_decided_must_be_said_once(hive: Hive, words: str) -> None:
    assert (await hive.hive(*words.split()))[0] == Code.USAGE
    assert hive.fake.calls == []


# how they are shown
async def test_branches_that_wait_or_are_refused_stand_below_what_is_pending(hive: Hive) -> None:
    tip = RefusedTip(
        AgentName("alice"),
        "proposed/push.git#t2",
        "t2",
        "2" * 40,
        "push by uid 0",
        "too large (less)",
        "`git x` forgets",
    )
    hive.fake.tips = [tip]
    hive.fake.waits = {AgentName("alice"): "push/alice.git branch t3 waits: alice has 20 proposals"}
    _, out, _ = await hive.hive("pending")
    assert out.splitlines() == [
        "nothing is pending",
        "alice: push/alice.git branch t3 waits: alice has 20 proposals",
        "alice: t2 at 222222222222 (root (uid 0)) is refused: too large (less); `git x` forgets",
    ]
    assert json.loads((await hive.hive("pending", "--json"))[1]) == []
    (row,) = json.loads((await hive.hive("pending", "--refused", "--json"))[1])
    assert (row["branch"], row["reason"]) == ("t2", "too large (less)")


def test_a_uid_is_shown_with_its_name() -> None:
    assert users.with_names(ME) == f"operator {NAME} (uid {os.geteuid()})"
    assert users.person("push by uid 0") == "root (uid 0)"
    assert users.with_names("push by uid 4294967294") == "push by uid 4294967294"
    assert (users.person("push"), users.with_names(None), users.person("manager")) == ("push", "", "manager")


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (
            "proposal_created",
            {"id": 4, "proposed_by": "push by uid 0", "source": "proposed/push.git#t2", "description": "less"},
            "4 waits for approval, pushed to t2 by root (uid 0): less",
        ),
        ("proposal_created", {"id": 4, "proposed_by": "push"}, "4 waits for approval, pushed"),
        (
            "proposal_created",
            {"id": 4, "proposed_by": "manager", "source": "proposed/config#propose/x"},
            "4 waits for approval, proposed by manager, on propose/x",
        ),
        (
            "proposal_created",
            {"id": 4, "proposed_by": "operator uid 0", "source": "/w"},
            f"4 waits for approval, proposed by {ROOT}",
        ),
        ("proposal_denied", {"id": 2, "by": "push by uid 0", "note": "superseded by 3"}, "2 is superseded by 3"),
        (
            "proposal_denied",
            {"id": 2, "by": "operator uid 0", "note": "denied"},
            f"2 is denied by {ROOT}",
        ),
        (
            "proposal_denied",
            {"id": 2, "by": "operator uid 0", "note": "no"},
            f"2 is denied by {ROOT}: no",
        ),
        (
            "tip_refused",
            {
                "branch": "t2",
                "sha": "2" * 40,
                "by": "push by uid 0",
                "reason": "too large",
                "remedy": "`git x`",
            },
            "t2 at 222222222222 (by root (uid 0)) is no proposal: too large; `git x`",
        ),
    ],
)
def test_events_are_sentences(kind: str, data: dict[str, object], said: str) -> None:
    assert describe(kind, {"at": 0.0, "agent": "alice", "data": data}).partition(" alice: ")[2] == said


@pytest.mark.parametrize(
    ("pending", "shown"), [([], ""), ([7], "7"), ([7, 8, 9], "7, 8, 9"), ([38, 40, 44, 51], "4: 38…51")]
)
def test_of_many_pending_ids_the_table_shows_how_many(pending: list[int], shown: str) -> None:
    assert ids(pending) == shown


def test_a_long_condition_goes_on_in_the_next_line() -> None:
    text = "alice: " + "word " * 30 + "x" * 90
    lines = wrap(text, 40)
    assert all(count_cells(line) <= 40 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert lines[1].startswith("  word")
    assert wrap("日本" * 9, 5)[0] == "日本"
    assert wrap("a\x1bb", 0) == ["a\\u001bb"]
    assert wrap("", 10) == [""]
    assert all(count_cells(line) <= 1 for line in wrap("ab cd", 1))


async def test_a_replay_that_left_merges_out_says_how_many(hive: Hive) -> None:
    hive.fake.add()
    code, out, _ = await hive.hive("rebase", "1")
    assert (code, "2 merge commits left out" in out) == (0, True)
