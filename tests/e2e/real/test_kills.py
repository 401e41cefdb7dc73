"""kill -9 in the middle of a turn: of the CLI, of the harness, of the daemon. Nothing is lost or done twice unsaid."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    REAL,
    Model,
    cli_of,
    failures,
    harness_of,
    newest_prompt,
    operator_has,
    send,
    send_message,
    state_is,
)

pytestmark = REAL


def test_the_cli_killed_in_its_turn_does_the_turn_again_in_the_same_conversation(lab: Lab, fake: Model) -> None:
    plan_repeat(fake, "first")
    begin(lab, fake, "first")
    before = cli_of(lab, "alice")
    assert Path(f"/proc/{before}/exe").samefile(CLAUDE)
    os.kill(before, signal.SIGKILL)
    finish(lab, fake, "first")
    assert cli_of(lab, "alice") != before


def test_the_harness_killed_in_its_turn_does_the_turn_again(lab: Lab, fake: Model) -> None:
    plan_repeat(fake, "second")
    begin(lab, fake, "second")
    os.kill(harness_of(lab, "alice"), signal.SIGKILL)
    finish(lab, fake, "second")


def test_the_daemon_killed_in_a_turn_gets_its_end_when_it_is_back(lab: Lab, fake: Model) -> None:
    answer = threading.Event()
    fake.fake.push({**send("operator", "done third"), "until": answer}, {"text": "ok"})
    begin(lab, fake, "third")
    cli = cli_of(lab, "alice")
    lab.kill()
    answer.set()
    lab.start()
    operator_has(lab, "done third")
    assert cli_of(lab, "alice") == cli
    assert len(fake.turns("do the third thing")) == 1
    assert failures(lab, "do the third thing") == [0]


def begin(lab: Lab, fake: Model, word: str) -> None:
    """Begin a turn, and wait until it asks the model."""
    send_message(lab, "alice", f"do the {word} thing")
    lab.until(lambda: fake.turns(f"do the {word} thing"))
    state_is(lab, "alice", "running")


def plan_repeat(fake: Model, word: str) -> None:
    """Plan a turn whose first answer never comes. The second attempt sends a message to the operator."""
    fake.fake.push({"hang": 60}, send("operator", f"done {word}"), {"text": "ok"})


def finish(lab: Lab, fake: Model, word: str) -> None:
    """Wait for the message of the repeated turn, whose prompt says that it may have been handled."""
    operator_has(lab, f"done {word}")
    first, again = fake.turns(f"do the {word} thing")
    assert "may already be handled" not in str(newest_prompt(first))
    assert "may already be handled" in str(newest_prompt(again))
    assert lab.inbox("operator").count(f"done {word}") == 1
    assert failures(lab, f"do the {word} thing") == [1]
