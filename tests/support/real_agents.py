"""Real coding agents in a hive: their agent.toml, their logins, and the fake model behind their way out.

The model does what the message says: `plan(step, ...)` is a text for a message that scripts the turn which it begins
(tests.support.fake_messages has the steps).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from meta.layout import Layout
from meta.names import AgentName
from tests.support.fake_messages import Json, Step, tool_results
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import WAIT, Lab

CLAUDE = Path(__file__).parents[2] / "build/claude/claude_agent_sdk/_bundled/claude"
VERSION = "2.1.329"
TOML = 'runtime = "claude"\n'
"""The settings of an agent of the CLI, as a spawn writes them."""

ALICE = """
runtime = "claude"
command = ["/state/cli"]
[env]
CLAUDE_CODE_MAX_RETRIES = "1"
DISABLE_AUTO_COMPACT = "1"
MCP_TIMEOUT = "8000"
[limits]
max_turns = 5
[mcp_servers.numbers]
command = ["python3", "/state/numbers.py"]
[mcp_servers.silent]
command = ["sh", "-c", "while [ -e /state/hang ]; do sleep 0.1; done"]
"""
"""The settings of an agent for tests: a test can break its CLI, the CLI leaves most waiting and compacting to hive,
a turn has few rounds of the model, one further MCP server has a tool, and one ends at once or hangs at its start."""

CLI = '#!/bin/sh\nexec /programs/bin/claude "$@"\n'
"""The file /state/cli of that agent while it works."""

REAL = [
    pytest.mark.bwrap,
    pytest.mark.timeout(180),  # the first test of a worker pays for the hive of all
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
]
"""The marks of a test with the CLI."""

SETTINGS = {
    "HIVE_DEFAULT_RUNTIME": "claude",
    "PATH": f"{CLAUDE.parent}:{os.environ['PATH']}",
    "HIVE_HEALTH_DEADLINE": "20",
    "HIVE_DRAIN_DEADLINE": "20",
    "HIVE_RECONNECT_GRACE": "5",
    "HIVE_STOP_GRACE": "5",
}
"""The daemon's settings: it finds the CLI by PATH, and real agents take their time."""


class Hive(Protocol):
    """A hive on this machine: the lab of a test, or that of the demo."""

    @property
    def layout(self) -> Layout: ...


def spawn(lab: Lab, *agents: str) -> None:
    """Spawn agents, and give each a login. Return once they can take turns."""
    for agent in agents:
        lab.post(f"/api/agents/{agent}/spawn")
    for agent in agents:
        lab.settle(agent)
        log_in(lab, agent)
    for agent in agents:
        state_is(lab, agent, "running")


def plan(*steps: Step) -> str:
    """Return the text of a message whose turn has these steps."""
    return f"@@plan {json.dumps(steps)}"


def send(to: str, body: str) -> Step:
    """Return the step in which the model sends a message by hive's tool."""
    return {"tool": "mcp__hive__send", "input": {"to": to, "body": body}}


class Model:
    """The fake model of a hive's agents, and what they were shown."""

    def __init__(self, lab: Hive, fake: FakeMessages) -> None:
        self._lab = lab
        self.fake = fake

    def attach(self, *agents: str) -> None:
        """Be the model of these agents from now on."""
        for agent in agents:
            if self._socket(agent) not in self.fake.sockets:
                self.fake.listen(self._socket(agent))

    def away(self, agent: str) -> None:
        """Be no more there for an agent."""
        self.fake.close(self._socket(agent))

    def turns(self, mark: str) -> list[Json]:
        """Return the requests for the model whose newest text of the user has `mark`."""
        return [call["body"] for call in self.fake.calls("main") if mark in json.dumps(newest_prompt(call["body"]))]

    def results(self, mark: str) -> list[str]:
        """Return the texts of the tool results in the newest request of a turn."""
        bodies = [call["body"] for call in self.fake.calls("main") if mark in json.dumps(call["body"]["messages"])]
        return [json.dumps(result["content"]) for result in tool_results(bodies[-1])] if bodies else []

    def _socket(self, agent: str) -> Path:
        return self._lab.layout.egress(AgentName(agent)) / "egress.sock"


def model(lab: Lab, fake: FakeMessages, *agents: str) -> Model:
    """Return the model of these agents. Turns of an earlier test end first, and what it had planned is forgotten."""
    for agent in agents:
        lab.until(partial(is_between_turns, lab, agent))
    fake.forget()
    made = Model(lab, fake)
    made.attach(*agents)
    return made


def ready(lab: Lab, fake: FakeMessages, *agents: str) -> Model:
    """Return the model of these agents, each of which runs, has a login and waits for a message."""
    there = lab.agents()
    for agent in agents:
        if agent not in there:
            lab.post(f"/api/agents/{agent}/spawn")
            lab.settle(agent)
        elif there[agent]["paused"]:  # a test that failed left it so
            assert lab.hive("turn", "resume", agent).code == 0
        if not _login(lab, agent).exists():
            log_in(lab, agent)
    made = model(lab, fake, *agents)
    for agent in agents:
        state_is(lab, agent, "running")
    return made


def is_between_turns(lab: Lab, agent: str) -> bool:
    """Return True if no turn of an agent runs."""
    return turn_state(lab, agent) not in ("thinking", "compacting")


def put_cli(lab: Lab, text: str | None, mode: int = 0o755) -> None:
    """Replace the CLI of the agent with ALICE's settings by this script. Without a text there is none."""
    put_file(lab, "cli", text, mode)


def put_file(lab: Lab, name: str, text: str | None, mode: int = 0o755) -> None:
    """Replace a file in alice's /state, as she would write it. Without a text there is none."""
    path = lab.layout.agent_state(AgentName("alice")) / name
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def end_cli(lab: Lab) -> None:
    """End alice's CLI, so that the next turn starts another one."""
    for pid in processes_of(int(lab.agent("alice")["pid"]), b"stream-json"):
        os.kill(pid, signal.SIGKILL)


def failures(lab: Lab, words: str) -> list[int]:
    """Return how many failed turns count for each message with these words."""
    query = "SELECT failed FROM messages WHERE instr(body, ?) AND recipient != 'operator' ORDER BY id"
    with contextlib.closing(sqlite3.connect(f"file:{lab.layout.database}?mode=ro", uri=True)) as database:
        return [failed for (failed,) in database.execute(query, (words,))]


def log_in(lab: Hive, agent: str, token: str = "sk-ant-oat01-fake", text: str | None = None) -> None:
    """Put a file with a login into the agent's home, as the CLI writes it, or a file with this text."""
    file = _login(lab, agent)
    folder = file.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    oauth = {
        "accessToken": token,
        "refreshToken": "sk-ant-ort01-fake",
        "expiresAt": 4_102_444_800_000,
        "scopes": ["user:inference"],
        "subscriptionType": "max",
    }
    new = folder / "new"
    new.write_text(json.dumps({"claudeAiOauth": oauth}) if text is None else text, encoding="utf-8")
    new.chmod(0o600)
    owner = lab.layout.agent_home(AgentName(agent)).stat()
    for path in (folder, new):
        os.chown(path, owner.st_uid, owner.st_gid)
    new.replace(file)  # never half a login, as the CLI writes it


def log_out(lab: Lab, agent: str) -> None:
    """Remove the file with the agent's login."""
    _login(lab, agent).unlink()


def _login(lab: Hive, agent: str) -> Path:
    return lab.layout.agent_home(AgentName(agent)) / ".claude/.credentials.json"


def processes_of(outermost: int, word: bytes) -> list[int]:
    """Return the processes in an agent's container that have `word` in their command line, outermost first."""
    todo, found = [outermost], []
    for pid in todo:
        with contextlib.suppress(OSError):  # it may end meanwhile
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if word in words:
                found.append(pid)
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
    return found


def harness_of(lab: Lab, agent: str) -> int:
    """Return the harness's process: bubblewrap above it has its command among its own words."""
    return processes_of(int(lab.agent(agent)["pid"]), b"serve")[-1]


def cli_of(lab: Lab, agent: str) -> int:
    """Return the process of the CLI."""
    return processes_of(int(lab.agent(agent)["pid"]), b"stream-json")[-1]


def turn_state(lab: Lab, agent: str) -> str:
    """Return the turn state of an agent's row."""
    return str(lab.agent(agent)["turn"])


def send_message(lab: Lab, agent: str, body: str) -> None:
    """Send a message as the operator."""
    lab.post("/api/messages", to=agent, body=body)


def operator_has(lab: Lab, body: str) -> None:
    """Wait until the operator has this message."""
    lab.until(lambda: body in lab.inbox("operator"))


def state_is(lab: Lab, agent: str, state: str, seconds: float = WAIT) -> dict[str, Any]:
    """Wait until an agent's phase is this one. Return its row of `hive status`."""

    def look() -> dict[str, Any] | None:
        row = lab.agent(agent)
        return row if row["phase"] == state else None

    return lab.until(look, seconds)


def newest_prompt(body: Json) -> object:
    """Return the content of the newest message of the user in a request for the model."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    return users[-1]["content"] if users else ""
