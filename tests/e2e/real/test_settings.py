"""What agent.toml says of a real agent's turns: further MCP servers, the rounds of a turn, the budget of a day."""

from __future__ import annotations

import json

import pytest

from tests.support.lab import Lab
from tests.support.real_agents import (
    ALICE,
    REAL,
    Model,
    end_cli,
    failures,
    operator_has,
    plan,
    put_file,
    send,
    send_message,
    state_is,
)

pytestmark = REAL


def notes(lab: Lab) -> list[str]:
    """Return the notes in the agent's log of events."""
    events = [entry["event"] for entry in lab.get("/api/agents/alice/events", limit=1000)]
    return [event["text"] for event in events if event["kind"] == "note"]


def test_the_tool_of_a_further_mcp_server_works_and_a_server_that_ended_is_named(lab: Lab, fake: Model) -> None:
    add = {"tool": "mcp__numbers__add", "input": {"a": 40, "b": 2}}
    tell = send("operator", "@@found the sum is \\d+")
    send_message(lab, "alice", plan(add, tell, {"text": "ok"}))
    operator_has(lab, "the sum is 42")
    assert "MCP servers without tools: silent (failed)" in notes(lab)


@pytest.mark.full  # the CLI waits for the server as long as it may, which is far longer than a start takes
def test_an_mcp_server_that_hangs_at_its_start_is_named_and_the_turn_goes_on(lab: Lab, fake: Model) -> None:
    before = len(notes(lab))
    put_file(lab, "hang", "")
    end_cli(lab)
    send_message(lab, "alice", plan(send("operator", "beside a silent server"), {"text": "ok"}))
    operator_has(lab, "beside a silent server")
    put_file(lab, "hang", None)
    assert "MCP servers without tools: silent (failed)" in notes(lab)[before:]


def test_a_turn_with_more_rounds_than_its_limit_fails_and_its_sender_is_told(lab: Lab, fake: Model) -> None:
    endless = [{"tool": "mcp__numbers__add", "input": {"a": number, "b": 1}} for number in range(9)]
    send_message(lab, "alice", plan(*endless, {"text": "the end of nine rounds"}))
    lab.until(lambda: [row for row in lab.get("/api/dead-letters") if "nine rounds" in row["body"]])
    assert failures(lab, "the end of nine rounds")[0] == 3
    assert any("raise limits in agent.toml" in str(entry["event"]) for entry in lab.get("/api/agents/alice/events"))


def test_a_budget_holds_the_agent_over_a_restart_until_a_deploy_raises_it(lab: Lab, fake: Model) -> None:
    def turns() -> int:
        return sum(model["turns"] for model in used(lab)["models"])

    send_message(lab, "alice", plan({"text": "before the budget"}))
    before = lab.until(lambda: fake.turns("before the budget") and turns())
    settings = f"{ALICE}[budget]\nturns = {before + 1}\n"
    assert lab.deploy(settings)["state"] == "deployed"
    send_message(lab, "alice", plan(send("operator", "paid 0"), {"text": "ok"}))
    state_is(lab, "alice", "over-budget")
    send_message(lab, "alice", plan(send("operator", "paid 1"), {"text": "ok"}))
    assert "agent-over-budget" in lab.hive("attention", "--json").out
    lab.kill()
    lab.start()
    state_is(lab, "alice", "over-budget")
    assert used(lab)["over"].startswith("today's budget is used up: ")
    assert [body for body in lab.inbox("operator") if body.startswith("paid")] == ["paid 0"]
    assert lab.deploy(f"{ALICE}[budget]\nturns = {before + 100}\n")["state"] == "deployed"
    operator_has(lab, "paid 1")
    assert len(lab.events("agent_over_budget")) == len(lab.events("agent_within_budget")) == 1
    assert failures(lab, "paid") == [0, 0]


def used(lab: Lab) -> dict[str, object]:
    """Return what alice's turns took today."""
    (row,) = json.loads(lab.hive("usage", "alice", "--json").out)["agents"]
    return dict(row)
