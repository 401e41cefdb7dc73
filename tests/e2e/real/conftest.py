"""One hive for all tests of this folder: the start of a daemon, of an agent and of the CLI costs more than most turns.

A test gets an agent that waits for a message, and a model that remembers nothing of what an earlier test planned. It
names its messages by words of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab, fresh_lab
from tests.support.real_agents import ALICE, CLI, SETTINGS, Model, log_in, put_cli, put_file, ready

NUMBERS = Path(__file__).parents[2] / "support/numbers_server.py"


@pytest.fixture(scope="package")
def messages() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    with fresh_lab("real", {**SETTINGS, "HIVE_MANAGER_RUNTIME": "claude"}, tiny=False) as made:
        made.post("/api/agents/alice/spawn")
        made.settle("alice")
        put_cli(made, CLI)
        put_file(made, "numbers.py", NUMBERS.read_text(encoding="utf-8"))
        assert made.deploy(ALICE)["state"] == "deployed", made.tail()
        log_in(made, "alice")
        yield made


@pytest.fixture
def fake(lab: Lab, messages: FakeMessages) -> Model:
    """The model of alice."""
    put_cli(lab, CLI)
    return ready(lab, messages, "alice")
