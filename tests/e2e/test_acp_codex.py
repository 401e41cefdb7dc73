"""codex in a hive, in short: it gets a message, calls hive's tool, is answered, counted, paused and resumed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.runtimes.acp_lab import WORLDS
from tests.support.real_acp import Stage, send, stage, wait_for

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not WORLDS["codex"].path.exists(), reason="codex is missing: make codex"),
]


@pytest.fixture
def hive() -> Iterator[Stage]:
    with stage("codex", "c") as made:
        yield made


def test_codex_talks_by_hives_tools_from_its_first_turn_on_and_a_pause_repeats_its_turn(hive: Stage) -> None:
    # with its own newest models the tools are in a program that the model writes
    assert hive.lab.hive("model", "alice", "gpt-fake").code == 0
    wait_for(hive, "needs-login")
    hive.log_in()
    hive.tell("the first question", send("manager", "ping"), {"text": "asked"}, {"text": "I see"})
    hive.lab.until(lambda: hive.turns("pong"))
    hive.rest()
    assert hive.lab.inbox("manager").count("ping") == 1  # among hive's own messages to the manager
    assert len(hive.api.calls()) == 3
    used = hive.usage()
    assert (used["turns"], used["input_tokens"], used["output_tokens"]) == (2, 30, 15)

    hive.tell("paused work", {"text": "slow " * 100, "chunks": 400, "delay": 0.1})
    hive.lab.until(lambda: hive.turns("paused work"))
    assert hive.lab.hive("turn", "pause", "alice").code == 0
    wait_for(hive, "paused")
    hive.api.push(send("operator", "after the pause"), {"text": "ok"})
    assert hive.lab.hive("turn", "resume", "alice").code == 0
    hive.operator_has("after the pause")
    assert "may already be handled" in hive.turns("paused work")[1]
    assert "the first question" in hive.conversation()
    assert not hive.lab.get("/api/dead-letters")
