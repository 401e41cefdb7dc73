"""What agent.toml says of a real agent: further MCP servers, rounds of a turn, a budget; and a deploy within a turn."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.lab import Lab
from tests.support.real_agents import (
    ALICE,
    REAL,
    Model,
    end_cli,
    failures,
    newest_prompt,
    operator_has,
    plan,
    put_file,
    send,
    send_message,
    state_is,
)

pytestmark = REAL


def events(lab: Lab) -> list[Any]:
    """Return the agent's live events."""
    return [entry["event"] for entry in lab.get("/api/agents/alice/events", limit=1000)]


def test_the_tool_of_a_further_mcp_server_works_and_a_server_that_ended_is_named(lab: Lab, fake: Model) -> None:
    add = {"tool": "mcp__numbers__add", "input": {"a": 40, "b": 2}}
    tell = send("operator", "@@found the sum is \\d+")
    send_message(lab, "alice", plan(add, tell, {"text": "ok"}))
    operator_has(lab, "the sum is 42")
    assert {"kind": "note", "text": "MCP servers without tools: silent (failed)"} in events(lab)


@pytest.mark.full  # the CLI waits for the server as long as it may, which is far longer than a start takes
def test_an_mcp_server_that_hangs_at_its_start_is_named_and_the_turn_goes_on(lab: Lab, fake: Model) -> None:
    before = len(events(lab))
    put_file(lab, "hang", "")
    end_cli(lab)
    send_message(lab, "alice", plan(send("operator", "beside a silent server"), {"text": "ok"}))
    operator_has(lab, "beside a silent server")
    put_file(lab, "hang", None)
    assert "the MCP server silent is failed: its tools are missing in this turn" in str(events(lab)[before:])


def test_a_turn_with_more_rounds_than_its_limit_fails_and_its_sender_is_told(lab: Lab, fake: Model) -> None:
    endless = [{"tool": "mcp__numbers__add", "input": {"a": number, "b": 1}} for number in range(9)]
    send_message(lab, "alice", plan(*endless, {"text": "the end of nine rounds"}))
    lab.until(lambda: [row for row in lab.get("/api/dead-letters") if "nine rounds" in row["body"]])
    assert failures(lab, "the end of nine rounds")[0] == 3
    assert any("raise limits in agent.toml" in str(event) for event in events(lab))


def test_a_deploy_waits_for_the_turn_that_runs_and_its_budget_holds_the_agent_until_another_deploy(
    lab: Lab, fake: Model
) -> None:
    answer = threading.Event()
    fake.fake.push({**send("operator", "before the deploy"), "until": answer}, {"text": "ok"})
    send_message(lab, "alice", "work through the deploy")
    lab.until(lambda: fake.turns("work through the deploy"))
    budget = f"{ALICE}[budget]\nturns = {{}}\n"
    proposal = lab.propose(budget.format(turns_of_today(lab) + 2))
    lab.post(f"/api/proposals/{proposal}/approve")
    lab.until(lambda: "drain" in [row["step"] for row in lab.get("/api/plan") if row["agent"] == "alice"])
    answer.set()
    lab.settle("alice")
    assert lab.card(proposal, "alice")["state"] == "deployed"
    assert "before the deploy" in lab.inbox("operator")
    assert (len(fake.turns("work through the deploy")), failures(lab, "work through")) == (1, [0])

    send_message(lab, "alice", plan(send("operator", "paid 0"), {"text": "ok"}))
    state_is(lab, "alice", "over-budget")
    (told,) = (prompt for turn in fake.turns("paid 0") if "paid 0" in (prompt := str(newest_prompt(turn))))
    assert "Your configuration changed:" in told
    assert "budget.turns" in told
    send_message(lab, "alice", plan(send("operator", "paid 1"), {"text": "ok"}))
    assert "agent-over-budget" in lab.hive("attention", "--json").out
    lab.kill()
    lab.start()
    state_is(lab, "alice", "over-budget")  # over a start of the daemon, too
    assert used(lab)["over"].startswith("today's budget is used up: ")
    assert [body for body in lab.inbox("operator") if body.startswith("paid")] == ["paid 0"]
    assert lab.deploy(budget.format(10_000))["state"] == "deployed"
    operator_has(lab, "paid 1")
    assert len(lab.events("agent_over_budget")) == len(lab.events("agent_within_budget")) == 1
    assert failures(lab, "paid") == [0, 0]


def turns_of_today(lab: Lab) -> int:
    return sum(model["turns"] for model in used(lab)["models"])


def used(lab: Lab) -> dict[str, Any]:
    """Return what alice's turns took today."""
    (row,) = json.loads(lab.hive("usage", "alice", "--json").out)["agents"]
    return dict(row)
