"""A hive with a real agent of the Agent Client Protocol, alice, and bob, who answers by rules. Her model is a fake API.

with stage("codex") as hive:
    hive.tell(send("bob", "ping"), {"text": "asked"})     # the steps of the turn that the message begins
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.runtimes.acp.table import PRESETS, Preset
from meta.names import AgentName
from tests.contract.runtimes.acp_lab import NODE, WORLDS, World
from tests.support.fake_openai_api import FakeOpenAI
from tests.support.fake_openai_forms import Json, question_of
from tests.support.lab import Lab, fresh_lab
from tests.support.real_agents import processes_of, state_is
from tests.support.unix_front import in_front

LONG = 150.0
"""Seconds that a start on a busy machine and a retry may take together. gemini may wait for the next minute, too."""


def send(to: str, body: str) -> Json:
    """Return the step in which the model sends a message by hive's tool."""
    return {"tool": "send", "input": {"to": to, "body": body}}


@dataclass
class Stage:
    """The hive, its agent alice, and the API of her model."""

    lab: Lab
    world: World
    api: FakeOpenAI
    _way_out: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def preset(self) -> Preset:
        """Return what hive knows of the agent."""
        return PRESETS[self.world.package]

    def shell(self, command: str) -> Json:
        """Return the step in which the model runs a command."""
        return {"tool": self.world.shell, "input": {self.world.argument: command, **self.world.more}}

    def open_way_out(self) -> None:
        """Let alice reach her model."""
        socket = self.lab.layout.egress(AgentName("alice")) / "egress.sock"
        self._way_out.enter_context(in_front(socket, self.api.url))

    def close_way_out(self) -> None:
        """Let nothing get out any more."""
        self._way_out.close()

    def log_in(self) -> None:
        """Put the files of a login into alice's home."""
        home = self.lab.layout.agent_home(AgentName("alice"))
        owner = home.stat()
        for name, text in self.world.login.items():
            file = home / name
            for folder in reversed([one for one in file.parents if home in one.parents]):
                folder.mkdir(mode=0o700, exist_ok=True)
                os.chown(folder, owner.st_uid, owner.st_gid)
            file.write_text(text, encoding="utf-8")
            file.chmod(0o600)
            os.chown(file, owner.st_uid, owner.st_gid)

    def tell(self, text: str, *steps: Json) -> None:
        """Send alice a message. The model takes these steps next, one for each request."""
        self.api.push(*steps)
        self.lab.post("/api/messages", to="alice", body=text)

    def turns(self, mark: str) -> list[str]:
        """Return the newest text of the user in each request for the model, if it has `mark`."""
        asked = [question_of(call["path"], call["body"]) for call in self.api.calls()]
        return [question.last for question in asked if question is not None and mark in question.last]

    def conversation(self) -> str:
        """Return what the model was last shown."""
        return json.dumps(self.api.calls()[-1]["body"])

    def operator_has(self, body: str) -> None:
        """Wait until the operator has this message."""
        self.lab.until(lambda: body in self.lab.inbox("operator"), LONG)

    def is_idle(self) -> bool:
        """Return True if alice has nothing to do."""
        return bool(self.lab.agent("alice")["turn"] == "idle")

    def rest(self) -> None:
        """Wait until alice has nothing to do."""
        self.lab.until(self.is_idle, LONG)

    def usage(self) -> dict[str, Any]:
        """Return what alice's turns took today."""
        rows = json.loads(self.lab.hive("usage", "alice", "--json").out)["agents"]
        return next((dict(model) for row in rows for model in row["models"]), {})

    def cli(self) -> int:
        """Return the outermost process of the CLI: the child of the harness."""
        harness = processes_of(int(self.lab.agent("alice")["pid"]), b"serve")[-1]
        return int(Path(f"/proc/{harness}/task/{harness}/children").read_text(encoding="ascii").split()[0])


def toml_of(world: World, name: str, more: str = "") -> str:
    """Return alice's agent.toml."""
    env = "".join(f"{key} = {json.dumps(value)}\n" for key, value in world.env.items())
    return f'runtime = "{name}"\nmodel = "{world.models[0]}"\n{more}\n[env]\n{env}'


@contextlib.contextmanager
def stage(name: str, letter: str, more: str | None = None) -> Iterator[Stage]:
    """Yield a hive whose alice has the runtime `name` and no login yet.

    With `more` she has the agent.toml of `toml_of`, otherwise that of a spawn.
    """
    world = WORLDS[name]
    settings = {
        "HIVE_DEFAULT_RUNTIME": name,
        "PATH": f"{world.path.parent}:{NODE}:{os.environ['PATH']}",
        "HIVE_HEALTH_DEADLINE": "30",
        "HIVE_DRAIN_DEADLINE": "30",
        "HIVE_RECONNECT_GRACE": "5",
        "HIVE_STOP_GRACE": "5",
    }
    with fresh_lab(letter, settings, tiny=False) as lab, FakeOpenAI() as api, contextlib.ExitStack() as way_out:
        lab.post("/api/agents/alice/spawn")
        lab.settle("alice")
        if more is not None:
            assert lab.deploy(toml_of(world, name, more))["state"] == "deployed", lab.tail()
        hive = Stage(lab, world, api, way_out)
        hive.open_way_out()
        yield hive


def wait_for(hive: Stage, state: str) -> dict[str, Any]:
    """Wait until alice's phase is this one, and return her row."""
    return state_is(hive.lab, "alice", state, LONG)
