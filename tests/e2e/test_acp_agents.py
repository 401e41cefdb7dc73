"""Real agents of the Agent Client Protocol in a hive: their kills, outages, restarts, compactions and logins."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.contract.runtimes.acp_lab import WORLDS
from tests.support.real_acp import LONG, Stage, send, stage, wait_for
from tests.support.real_agents import failures

pytestmark = [pytest.mark.bwrap, pytest.mark.full, pytest.mark.timeout(400)]

QUIET = "[limits]\nsilence_seconds = 50\n"
"""Most say nothing while their API is away; hive parks the message after 80 % of this."""


@pytest.fixture(scope="module", params=list(WORLDS))
def hive(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The hive of one agent, which its tests share."""
    if not WORLDS[request.param].path.exists():
        pytest.skip(f"{request.param} is missing: make {request.param}")
    with stage(request.param, request.param[0], QUIET) as made:
        yield made


@pytest.fixture(autouse=True)
def between_turns(hive: Stage, request: pytest.FixtureRequest) -> None:
    """Begin each test with a login, with an alice who has nothing to do, and with no step that is left over."""
    if "login" not in request.node.name:
        hive.log_in()
        hive.rest()
    hive.api.forget()


def begin(hive: Stage, text: str, *steps: dict[str, object]) -> None:
    """Begin a turn, and wait until it asks the model."""
    hive.tell(text, *steps)
    hive.lab.until(lambda: hive.turns(text), LONG)


def finish_again(hive: Stage, text: str, done: str) -> None:
    """Wait for the message of a repeated turn, whose prompt says that it may have been handled."""
    hive.operator_has(done)
    assert "may already be handled" not in hive.turns(text)[0]
    assert "may already be handled" in hive.turns(text)[-1]
    assert hive.lab.inbox("operator").count(done) == 1
    assert not hive.lab.get("/api/dead-letters")


def test_an_agent_without_a_login_waits_for_one_and_then_does_its_turn(hive: Stage) -> None:
    hive.tell("wait for the login", send("operator", "logged in"), {"text": "ok"})
    if hive.world.login:  # that of opencode is in the configuration of its provider
        assert wait_for(hive, "needs-login")["turn_reason"]
        assert not hive.turns("wait for the login")
    hive.log_in()
    hive.operator_has("logged in")
    assert all("may already be handled" not in turn for turn in hive.turns("wait for the login"))


def test_a_message_leads_to_a_tool_call_that_another_agent_answers(hive: Stage) -> None:
    before = hive.usage().get("turns", 0)
    hive.tell("ask the manager", send("manager", "ping"), {"text": "asked"}, {"text": "I see"})
    hive.lab.until(lambda: hive.turns("pong"), LONG)
    hive.rest()
    used = hive.usage()
    assert used["turns"] == before + 2
    assert used["output_tokens"] > 0
    assert hive.lab.agent("alice")["program"][0].isdecimal()


def test_a_restart_continues_the_conversation(hive: Stage) -> None:
    hive.tell("remember the blue door", send("operator", "remembered"), {"text": "ok"})
    hive.operator_has("remembered")
    hive.rest()
    hive.lab.do("alice", "restart")
    hive.tell("which door?", send("operator", "the blue one"), {"text": "ok"})
    hive.operator_has("the blue one")
    assert "remember the blue door" in hive.conversation()


def test_the_cli_killed_in_its_turn_does_the_turn_again(hive: Stage) -> None:
    begin(hive, "killed work", {"hang": 60})
    before = hive.cli()
    hive.api.push(send("operator", "after the kill"), {"text": "ok"})
    os.kill(before, signal.SIGKILL)
    finish_again(hive, "killed work", "after the kill")
    assert hive.cli() != before


def test_an_outage_loses_nothing_and_costs_no_attempt(hive: Stage) -> None:
    hive.close_way_out()
    hive.tell("during the outage", send("operator", "after the outage"), {"text": "ok"})
    wait_for(hive, "parked")
    hive.open_way_out()
    hive.operator_has("after the outage")
    assert failures(hive.lab, "during the outage") == [0]
    assert not hive.lab.get("/api/dead-letters")


def test_a_pause_stops_the_turn_and_a_resume_does_it_again(hive: Stage) -> None:
    begin(hive, "paused work", {"text": "slow " * 100, "chunks": 400, "delay": 0.1})
    assert hive.lab.hive("turn", "pause", "alice").code == 0
    wait_for(hive, "paused")
    hive.api.push(send("operator", "after the pause"), {"text": "ok"})
    assert hive.lab.hive("turn", "resume", "alice").code == 0
    finish_again(hive, "paused work", "after the pause")


def test_a_cancel_ends_the_turn_and_the_message_does_not_come_again(hive: Stage) -> None:
    begin(hive, "cancelled work", {"text": "slow " * 100, "chunks": 400, "delay": 0.1})
    assert hive.lab.hive("turn", "cancel", "alice").code == 0
    hive.rest()
    hive.tell("the next", send("operator", "next"), {"text": "ok"})
    hive.operator_has("next")
    assert len(hive.turns("cancelled work")) == 1


def test_a_compaction_shortens_the_conversation_by_the_command_or_by_notes(hive: Stage) -> None:
    story = "once upon a time there was a lamp"
    begin(hive, "tell me a story", {"text": story})
    hive.rest()
    # the API's summary for a command, the agent's own notes without one
    summary = "Fake title" if hive.preset.compact else "the lamp was green"
    if not hive.preset.compact:
        hive.api.push(hive.shell(f"echo '{summary}' >/state/notes.md"), {"text": "noted"})
    assert hive.lab.hive("turn", "compact", "alice").code == 0
    hive.tell("which colour?", send("operator", "green"), {"text": "ok"})
    hive.operator_has("green")
    assert summary in hive.conversation()
    assert story not in hive.conversation()
