"""`hive usage`: sums by agent and model, the budget, and the newest turns of one agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meta.agent_toml.settings import AgentSettings
from meta.network.report import Metered
from meta.wire.live import Usage
from reconciler.plan.budget import day_of
from reconciler.store.token_days import DayReport, take
from tests.support.fake_service import ALICE, NOW

if TYPE_CHECKING:
    from tests.api.conftest import Hive


async def turn(hive: Hive, id: int, **fields: Any) -> None:
    usage = Usage(**{"runtime": "claude", "model": "haiku", "seconds": 75.0, "ending": "ok", **fields})
    await hive.fake.turn_records.record(ALICE, "log1", id, NOW(), usage)


async def test_sums_are_shown_by_model_with_the_word_that_they_are_a_claim(hive: Hive) -> None:
    hive.fake.deployed = AgentSettings()
    await turn(hive, 1, input_tokens=100, output_tokens=20, cost_dollars=0.03125)
    await turn(hive, 2, input_tokens=1, output_tokens=2, cost_dollars=2.0)
    await turn(hive, 3, model="opus", ending="parked")
    code, out, err = await hive.hive("usage", "--since", "2023-11-14T12:00:00+00:00")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "since 2023-11-14 (UTC); tokens and dollars are the agents' own claim"
    assert lines[3].split() == ["alice", "haiku", "2", "0", "101", "22", "0", "$2.03", "2m30s"]
    assert lines[4].split()[:4] == ["alice", "opus", "0", "1"]
    assert len(lines) == 5


async def test_without_a_turn_it_says_so(hive: Hive) -> None:
    assert (await hive.hive("usage"))[1].splitlines()[-1] == "no turns"


async def test_one_agent_has_its_budget_and_its_newest_turns_too(hive: Hive) -> None:
    await turn(hive, 1, source="bob", tools={"Bash": 2, "Read": 1}, cost_dollars=0.5)
    await turn(hive, 2, source="operator")
    _, out, _ = await hive.hive("usage", "alice", "-n", "1")
    assert "budget of alice today: 2 of 2 turns, $0.5000 of $1.50; used up until 2023-11-1" in out
    assert "operator" in out
    assert "Bash" not in out
    _, out, _ = await hive.hive("usage", "alice", "--json")
    found = json.loads(out)
    assert [turn["tools"] for turn in found["turns"]] == [{}, {"Bash": 2, "Read": 1}]
    assert found["agents"][0]["over"] == "today's budget is used up: 2 of 2 turns"
    assert found["agents"][0]["today"] == {"turns": 2, "tokens": 0, "dollars": 0.5}


async def test_a_runtime_that_reports_no_dollars_has_none_and_its_budget_says_so(hive: Hive) -> None:
    budget = {"turns": 2, "dollars": 1.5}
    hive.fake.deployed = AgentSettings.model_validate({"runtime": "codex", "budget": budget})
    await turn(hive, 1, runtime="codex", input_tokens=100)
    _, out, _ = await hive.hive("usage", "alice")
    assert "$0.00" not in out
    assert "budget of alice today: 1 of 2 turns, - of $1.50" in out
    assert "  NO EFFECT: budget.dollars: runtime codex: it reports none" in out


async def test_a_day_without_a_turn_has_spent_nothing_of_the_budget(hive: Hive) -> None:
    assert "budget of alice today: 0 of 2 turns, $0.00 of $1.50" in (await hive.hive("usage", "alice"))[1]


async def test_a_name_that_an_agent_claims_for_its_model_cannot_forge_a_line(hive: Hive) -> None:
    await turn(hive, 1, model="haiku\nalice  free\x1b[2K")
    _, out, _ = await hive.hive("usage")
    assert "\x1b" not in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("alice")] == ["alice"]


async def test_what_was_metered_outside_is_shown_beside_the_claim(hive: Hive) -> None:
    assert "metered" not in (await hive.hive("usage", "alice"))[1]
    new = DayReport("alice", day_of(NOW()), Metered(3, 100, 20, 7))
    await hive.fake.database.write(lambda connection: take(connection, new))
    assert "hive-egress counted 120 tokens of alice in the API's answers" in (await hive.hive("usage"))[1]
    found = json.loads((await hive.hive("usage", "alice", "--json"))[1])
    assert (found["agents"][0]["metered_tokens"], found["agents"][0]["today"]["tokens"]) == (120, 120)
