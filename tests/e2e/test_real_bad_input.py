"""What can be wrong around a real coding agent: a clear state with the remedy, and the inbox intact."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.names import AgentName
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    SETTINGS,
    VERSION,
    Model,
    model,
    operator_has,
    plan,
    processes_of,
    send,
    send_message,
    spawn,
    state_is,
)

GOOD = '#!/bin/sh\nexec /programs/bin/claude "$@"\n'
VERSION_ONLY = f'#!/bin/sh\ncase "$*" in *--version) echo {VERSION};; *) echo "no such thing" >&2; exit 3;; esac\n'
GARBAGE = "#!/bin/sh\nhead -c 3000 /dev/urandom\n"
TOML = """
runtime = "claude"
command = ["/state/cli"]
[env]
MCP_TIMEOUT = "8000"
[mcp_servers.silent]
command = ["sh", "-c", "while [ -e /state/hang ]; do sleep 0.1; done"]
"""
"""The CLI is a file that a test can break. One of its MCP servers ends at once, or hangs at its start."""


def prepare(lab: Lab) -> None:
    spawn(lab, "alice")
    put_cli(lab, GOOD)
    assert lab.deploy(TOML)["state"] == "deployed", lab.tail()


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.lab(settings=SETTINGS, tiny=False, prepare=prepare),
]


@pytest.fixture(scope="module")
def messages() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


@pytest.fixture
def fake(lab: Lab, messages: FakeMessages) -> Model:
    return model(lab, messages, "alice")


@pytest.mark.full  # the CLI waits for the server as long as it may, which is far longer than a start takes
def test_an_mcp_server_that_hangs_at_its_start_is_named_and_the_turn_goes_on(lab: Lab, fake: Model) -> None:
    hang = lab.layout.agent_state(AgentName("alice")) / "hang"
    hang.touch()
    order(lab, "beside a silent server")
    operator_has(lab, "beside a silent server")
    hang.unlink()
    assert "MCP servers without tools: silent (failed)" in notes(lab)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        pytest.param(None, 0, "/state/cli is not installed", id="missing"),
        pytest.param(GOOD, 0o644, "/state/cli is not executable", id="not executable", marks=pytest.mark.full),
        pytest.param(GARBAGE, 0o755, "--version", id="garbage", marks=pytest.mark.full),
        pytest.param("#!/bin/sh\nexit 3\n", 0o755, "exit code 3", id="exits at once"),
    ],
)
def test_a_broken_cli_parks_the_agent_and_its_messages_wait(
    lab: Lab, fake: Model, text: str | None, mode: int, words: str
) -> None:
    put_cli(lab, text, mode)
    end_cli(lab)
    order(lab, f"after {words}")
    row = state_is(lab, "alice", "parked")
    assert words in row["turn_reason"]
    assert f"install claude {VERSION} or newer" in row["turn_reason"]
    put_cli(lab, GOOD)
    assert lab.hive("model", "alice", "--default").code == 0
    operator_has(lab, f"after {words}")
    row = lab.agent("alice")
    assert (row["program"], row["runtime_problem"]) == (VERSION, "")
    assert not lab.get("/api/dead-letters")


@pytest.mark.full  # the count of failed turns is tried with a scripted runtime in every run
def test_a_cli_that_ends_in_each_turn_makes_a_dead_letter_of_its_third(lab: Lab, fake: Model) -> None:
    put_cli(lab, VERSION_ONLY)
    end_cli(lab)
    order(lab, "never done")
    (letter,) = lab.until(lambda: lab.get("/api/dead-letters"))
    assert "never done" in str(letter)
    put_cli(lab, GOOD)
    order(lab, "the next one")
    operator_has(lab, "the next one")
    assert "never done" not in lab.inbox("operator")


def test_a_model_that_does_not_exist_parks_the_agent_and_another_one_mends_it(lab: Lab, fake: Model) -> None:
    fake.fake.always({"error": 404})
    assert lab.hive("model", "alice", "claude-nonsense-9").code == 0
    order(lab, "with a known model")
    row = state_is(lab, "alice", "parked")
    assert "issue with the selected model (claude-nonsense-9)" in row["turn_reason"]
    assert row["turn_reason"].endswith("`hive model alice NAME`")
    fake.fake.always(None)
    assert lab.hive("model", "alice", "--default").code == 0
    operator_has(lab, "with a known model")


@pytest.mark.full  # the log itself is tried in every run
def test_a_damaged_log_of_events_is_set_aside_and_the_agent_goes_on(lab: Lab, fake: Model) -> None:
    state = lab.layout.agent_state(AgentName("alice"))
    lab.do("alice", "stop")
    (state / "hyperhive-events.sqlite").write_bytes(b"no database" * 1000)
    lab.do("alice", "start")
    order(lab, "with a new log")
    operator_has(lab, "with a new log")
    assert list(state.glob("hyperhive-events.sqlite.damaged-*"))
    assert "with a new log" in str(lab.get("/api/agents/alice/events"))


def notes(lab: Lab) -> list[str]:
    """Return the notes in the agent's log of events."""
    events = [entry["event"] for entry in lab.get("/api/agents/alice/events")]
    return [event["text"] for event in events if event["kind"] == "note"]


def order(lab: Lab, words: str) -> None:
    """Have the agent send these words to the operator."""
    send_message(lab, "alice", plan(send("operator", words), {"text": "ok"}))


def put_cli(lab: Lab, text: str | None, mode: int = 0o755) -> None:
    """Replace the agent's CLI by this script. Without a text there is none."""
    path: Path = lab.layout.agent_state(AgentName("alice")) / "cli"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def end_cli(lab: Lab) -> None:
    """End the CLI that runs, so that the next turn starts another one."""
    for pid in processes_of(int(lab.agent("alice")["pid"]), b"stream-json"):
        os.kill(pid, signal.SIGKILL)
