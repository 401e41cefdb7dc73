"""kill -9 in the middle of a turn: of the CLI, of the harness, of the daemon. Nothing is lost or done twice unsaid."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    SETTINGS,
    Model,
    cli_of,
    harness_of,
    log_in,
    model,
    operator_has,
    send,
    send_message,
    state_is,
)


def prepare(lab: Lab) -> None:
    log_in(lab, "alice")


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.lab(agents=("alice",), settings=SETTINGS, tiny=False, prepare=prepare),
]


@pytest.fixture(scope="module")
def messages() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


@pytest.fixture
def fake(lab: Lab, messages: FakeMessages) -> Model:
    return model(lab, messages, "alice")


def test_the_cli_killed_in_its_turn_does_the_turn_again_in_the_same_conversation(lab: Lab, fake: Model) -> None:
    begin(lab, fake, "first")
    before = cli_of(lab, "alice")
    os.kill(before, signal.SIGKILL)
    finish(lab, fake, "first")
    assert cli_of(lab, "alice") != before


def test_the_harness_killed_in_its_turn_does_the_turn_again(lab: Lab, fake: Model) -> None:
    begin(lab, fake, "second")
    os.kill(harness_of(lab, "alice"), signal.SIGKILL)
    finish(lab, fake, "second")


def test_the_daemon_killed_in_a_turn_gets_its_end_when_it_is_back(lab: Lab, fake: Model) -> None:
    begin(lab, fake, "third", seconds=3)
    cli = cli_of(lab, "alice")
    lab.kill()
    lab.start()
    operator_has(lab, "done third")
    assert cli_of(lab, "alice") == cli


def begin(lab: Lab, fake: Model, word: str, seconds: float = 60) -> None:
    """Begin a turn whose first answer takes long, and then its message to the operator."""
    fake.fake.push({"text": word, "hang": seconds}, send("operator", f"done {word}"), {"text": "ok"})
    send_message(lab, "alice", f"do the {word} thing")
    lab.until(lambda: fake.turns(f"do the {word} thing"))
    state_is(lab, "alice", "running")


def finish(lab: Lab, fake: Model, word: str) -> None:
    """Wait for the message of the repeated turn, whose prompt says that it may have been handled."""
    operator_has(lab, f"done {word}")
    again = fake.turns(f"do the {word} thing")[-1]
    assert "may already be handled" in str(again["messages"])
    assert lab.inbox("operator").count(f"done {word}") == 1
    assert not lab.get("/api/dead-letters")
