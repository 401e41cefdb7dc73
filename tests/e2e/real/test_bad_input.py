"""What can be wrong around a real coding agent: a clear state with the remedy, and the inbox intact."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.names import AgentName
from tests.support.lab import Lab, alive
from tests.support.real_agents import (
    CLI,
    REAL,
    VERSION,
    Model,
    end_cli,
    failures,
    log_in,
    operator_has,
    plan,
    processes_of,
    put_cli,
    send,
    send_message,
    state_is,
    turn_state,
)

GARBAGE = "#!/bin/sh\nhead -c 3000 /dev/urandom\n"
OLD = "#!/bin/sh\necho '2.0.0 (Claude Code)'\n"


def in_turns(commands: str) -> str:
    """Return a CLI that has the right version and does this in each turn."""
    return f'#!/bin/sh\ncase "$*" in *--version) echo {VERSION}; exit;; esac\n{commands}\n'


FAILS = in_turns('echo "no such thing" >&2; exit 3')
LONG_LINE = in_turns("head -c 50000000 /dev/zero | tr '\\0' x; echo; exit 3")
STUBBORN = in_turns("trap '' TERM INT; touch /state/stubborn; while :; do sleep 0.2; done")

pytestmark = REAL


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        pytest.param(None, 0, "/state/cli is not installed", id="missing"),
        pytest.param(CLI, 0o644, "/state/cli is not executable", id="not executable", marks=pytest.mark.full),
        pytest.param(GARBAGE, 0o755, "--version", id="garbage", marks=pytest.mark.full),
        pytest.param(OLD, 0o755, "claude 2.0.0 is too old", id="too old", marks=pytest.mark.full),
        pytest.param("#!/bin/sh\nexit 3\n", 0o755, "exit code 3", id="exits at once", marks=pytest.mark.full),
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
    assert f"npm install -g @anthropic-ai/claude-code@{VERSION}" in row["turn_reason"]
    put_cli(lab, CLI)
    assert lab.hive("model", "alice", "--default").code == 0
    operator_has(lab, f"after {words}")
    row = lab.agent("alice")
    assert (row["program"], row["runtime_problem"]) == (VERSION, "")
    assert failures(lab, f"after {words}") == [0]


@pytest.mark.full  # the count of failed turns is tried with a scripted runtime in every run
@pytest.mark.parametrize("text", [pytest.param(FAILS, id="fails"), pytest.param(LONG_LINE, id="a line of 50 MB")])
def test_a_cli_that_ends_in_each_turn_makes_a_dead_letter_of_its_third(lab: Lab, fake: Model, text: str) -> None:
    letters, words = len(lab.get("/api/dead-letters")), f"never done by {len(text)}"
    put_cli(lab, text)
    end_cli(lab)
    order(lab, words)
    lab.until(lambda: len(lab.get("/api/dead-letters")) > letters)
    assert failures(lab, words)[0] == 3
    put_cli(lab, CLI)
    order(lab, f"after {len(text)}")
    operator_has(lab, f"after {len(text)}")
    assert words not in lab.inbox("operator")


@pytest.mark.full  # the end of a child that ignores signals is tried without a container in every run
def test_a_cli_that_ignores_every_polite_signal_is_ended_by_a_cancel(lab: Lab, fake: Model) -> None:
    put_cli(lab, STUBBORN)
    end_cli(lab)
    order(lab, "of a stubborn one")
    lab.until((lab.layout.agent_state(AgentName("alice")) / "stubborn").exists)
    (*_, cli) = processes_of(int(lab.agent("alice")["pid"]), b"stream-json")
    assert lab.hive("turn", "cancel", "alice").code == 0
    lab.until(lambda: not alive(cli))
    assert turn_state(lab, "alice") == "idle"
    put_cli(lab, CLI)
    order(lab, "after the stubborn one")
    operator_has(lab, "after the stubborn one")
    assert "of a stubborn one" not in lab.inbox("operator")


def test_a_model_that_does_not_exist_parks_the_agent_and_another_one_mends_it(lab: Lab, fake: Model) -> None:
    fake.fake.always({"error": 404})
    assert lab.hive("model", "alice", "claude-nonsense-9").code == 0
    order(lab, "with a known model")
    row = state_is(lab, "alice", "parked")
    assert "issue with the selected model (claude-nonsense-9)" in row["turn_reason"]
    assert row["turn_reason"].endswith("`hive model alice NAME`")
    assert "agent-model-refused" in lab.hive("attention", "--json").out
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


@contextlib.contextmanager
def full_disk(lab: Lab, agent: str) -> Iterator[Path]:
    """Give a stopped agent a /state that is full."""
    state = lab.layout.agent_state(AgentName(agent))
    aside = state.with_name("aside")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"]
    state.rename(aside)
    state.mkdir()
    subprocess.run([*mount, state], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", f"{state}/"], check=True)
        with contextlib.suppress(OSError), (state / "fill").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        yield state
        lab.do(agent, "stop")
    finally:
        subprocess.run(["umount", "-l", state], check=True)
        state.rmdir()
        aside.rename(state)


@pytest.mark.full  # it mounts a file system, for which it needs root
def test_a_full_state_costs_the_history_and_no_message(lab: Lab, fake: Model) -> None:
    lab.spawn("carol")
    lab.do("carol", "stop")
    log_in(lab, "carol")
    fake.attach("carol")
    with full_disk(lab, "carol"):
        lab.do("carol", "start")
        send_message(lab, "carol", plan(send("operator", "from a full state"), {"text": "ok"}))
        operator_has(lab, "from a full state")
        warned = lab.hive("model", "carol", "opus")
        assert (warned.code, "warning" in warned.out) == (0, True)
        assert lab.hive("logs", "carol", "-n", "1000").out.count("No space left on device") == 1
    assert failures(lab, "from a full state")[0] == 0


def order(lab: Lab, words: str) -> None:
    """Have the agent send these words to the operator."""
    send_message(lab, "alice", plan(send("operator", words), {"text": "ok"}))
