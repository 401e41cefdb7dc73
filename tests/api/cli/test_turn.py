"""`hive turn`, `hive model`, and what `hive status` says about turns and runtimes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from api.cli.render.status import details, turn
from tests.api.http.test_app import ME

if TYPE_CHECKING:
    from tests.api.conftest import Hive


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("pause", "alice is paused: it takes no turn until `hive turn resume alice`\n"),
        ("resume", "alice is resumed: it takes turns again\n"),
        ("cancel", "alice had its turn ended: turn 3 was ended\n"),
        ("compact", "alice: compacted: 120000 -> 9000 tokens \\u001b[2J\n"),
        ("new-session", "alice begins a new conversation with its next turn\n"),
    ],
)
async def test_a_turn_is_controlled_by_the_operator_and_the_answer_is_printed_safely(
    hive: Hive, verb: str, sentence: str
) -> None:
    code, out, _ = await hive.hive("turn", verb, "alice")
    assert (code, out) == (0, sentence)
    assert hive.fake.calls == [(f"turn {verb}", "alice", ME)]
    _, out, _ = await hive.hive("turn", verb, "alice", "--json")
    assert json.loads(out)["accepted"] == verb
    code, _, err = await hive.hive("turn", verb, "nobody")
    assert (code, "there is no agent nobody" in err) == (3, True)


async def test_the_model_is_shown_set_and_given_back(hive: Hive) -> None:
    _, out, _ = await hive.hive("model", "alice")
    assert out == "runtime     claude 2.1.329\nmodel       haiku\nset by you  haiku\nagent.toml  opus\n"
    assert await hive.hive("model", "alice", "opus") == (0, "alice has its model set: the next turn has opus\n", "")
    await hive.hive("model", "alice", "--default")
    assert hive.fake.calls == [("set_model", "alice", "opus", ME), ("set_model", "alice", None, ME)]
    code, _, err = await hive.hive("model", "alice", "opus", "--default")
    assert (code, "both a model and --default" in err) == (2, True)


STATE = {"agent": "alice", "turn": "parked", "turn_since": None, "state_since": None}


def test_a_state_with_a_reason_names_it_as_the_agent_s_words() -> None:
    row = {**STATE, "turn_until": 60.0, "turn_reason": 'limit\n"ok": all fine'}
    (line,) = details(row)
    assert line.startswith("parked until ")
    assert line.endswith(", it says: \"limit 'ok': all fine\"")


def test_an_override_that_hides_an_approved_model_and_a_cli_that_does_not_start_have_a_line() -> None:
    row = {**STATE, "model_override": "haiku", "model_hidden": "opus", "runtime_problem": "claude is missing"}
    override, problem = details(row)
    assert override == ("the model haiku that you set hides opus of agent.toml; `hive model alice --default` ends that")
    assert problem == 'its CLI does not start, it says: "claude is missing"'


def test_a_workspace_that_is_not_there_has_a_line() -> None:
    rows = [{"path": "a", "state": "ready", "text": ""}, {"path": "b", "state": "failed", "text": 'no\n"way"'}]
    (line,) = details({**STATE, "turn_until": None, "turn_reason": "", "workspaces": rows})
    assert line == """workspace "b": "failed", it says: "no 'way'\""""


def test_an_older_daemon_has_none_of_that() -> None:
    assert list(details({"agent": "alice", "turn": "idle"})) == []
    assert turn({"turn": "idle"}) == "idle"


def test_every_state_has_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.words.times.age", lambda since: f"since {since:g}")
    assert turn({"turn": "paused", "turn_since": None, "state_since": 5.0}) == "paused since 5"
    assert turn({"turn": "thinking", "turn_since": 3.0, "state_since": 5.0}) == "thinking since 3"
