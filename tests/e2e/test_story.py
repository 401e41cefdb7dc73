"""`make demo` as a test: the whole story with the real daemon and the real harness, and every line of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import real_turn
from tests.e2e.story import tell
from tests.e2e.told_here import ToldHere
from tests.e2e.words import Story
from tests.support.lab import discard
from tests.support.real_agents import CLAUDE, VERSION

LINES = (
    "a hive starts: daemon pid ",
    "the manager is healthy: phase running",
    "alice is spawned: phase running, pid ",
    "a commit, and `git push` to alice's push repo: proposal 1 is pending after ",
    "`hive diff 1`: label: alice -> alice, the second",
    "approved: generation ",
    "one that does not build: failed/2 (agent.toml: runtime: must be 'script', 'claude', 'codex', "
    "'gemini', 'opencode', 'claude-acp' or 'acp', not 3), alice untouched",
    "one that never becomes healthy: failed/3 (no harness connected within ",
    "denied: denied/4 with its reason",
    "kill -9 of alice: noticed (killed by signal 9), restarted after ",
    "kill -9 of the daemon in the middle of deploy 5: alice runs on, pid ",
    "the daemon is back: ",
    "bob joins: deployed/6, ",
    "`hive send '*' 'who is here?'`: `hive inbox` has \"alice is here\" and \"bob is here\", ",
    "`hive ask alice 'when?' --wait`: alice answers \"at noon\"",
    'alice asks the operator: `hive questions`: "from which branch?" (main, next)',
    'main`: alice asks bob if its tests pass, and tells: "releasing main: bob says yes"',
    '`hive remind alice stand-up --in 1s`: she tells all: "bob heard it: alice was reminded: stand-up"',
    'bob reminds himself: "bob was reminded: look at the build"; `hive loose-ends` is empty, no dead letter',
    'bob may reach docs.example: approved as 7; his curl asks, and "a server docs.example:',
    '-is-not-on-the-list-of-bob (ask with request_network)"; `hive network` has it, 1 time',
    '`hive network allow bob packages.example --for 1h`: "a server packages.example:',
    'the same with `--propose`: deployed/8, the hour revoked: "a server packages.example:',
    "a key in network.toml, `hive spawn carol --runtime claude`: she needs no login; the key is in no environment, ",
    f"`hive send carol ...`: claude {VERSION}, pid ",
    "`hive usage carol`: 1 turn of claude-haiku-",
    "at the end: hive plan is empty, 4 agents are as desired",
)

SHORTER = {"HIVE_HEALTH_DEADLINE": "2.5", "HIVE_HEALTH_STABLE": "0.05", "HIVE_CRASH_BACKOFF": "0.1"}
"""The same story with shorter waits."""

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120)]


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(f"/tmp/hive-{os.getpid()}-s")
    discard(made)
    made.mkdir(mode=0o755)
    yield made
    discard(made)


@pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude")
def test_the_story_of_the_demo_is_true_and_has_every_line(directory: Path) -> None:
    told: list[str] = []
    story = ToldHere(directory, told.append)
    story.environment |= SHORTER
    try:
        tell(story)
    finally:
        story.end()
    assert len(told) == len(LINES)
    for line, expected in zip(told, LINES, strict=True):
        assert line.startswith("  ok ")
        assert expected in line


def test_without_the_cli_the_demo_names_the_command_that_installs_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_turn, "CLAUDE", directory / "claude")
    told: list[str] = []
    real_turn.real_turn(Story(directory, told.append))
    (line,) = told
    assert line.startswith("  -- ")
    assert "the claude CLI is not here; `make claude` installs it" in line
