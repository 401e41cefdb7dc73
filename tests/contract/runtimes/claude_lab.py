"""The lab of the real claude CLI and the fake Messages API."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.runtimes.base import Access, Enclosure, Runtime, RuntimeSpec
from harness.runtimes.claude.adapter import ClaudeRuntime
from meta.agent_toml.settings import AgentSettings
from meta.names import AgentName
from tests.contract.runtimes.lab import ENDINGS, Call, Failure, Record, Say, Shell, Step, Use
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.support.fake_messages_api import FakeMessages

CLAUDE = Path(__file__).parents[3] / "build" / "claude" / "claude_agent_sdk" / "_bundled" / "claude"
_PIECE = 0.1


class ClaudeLab:
    """One agent with claude (tests.contract.runtimes.lab.Lab)."""

    name = "claude"
    endings = ENDINGS
    shows_arguments = True
    reports_limits = True
    models = ("haiku", "sonnet")
    sums = True
    counts_cached = True

    def __init__(self, folder: Path, api: FakeMessages, mcp: TinyMcp) -> None:
        self.home = folder / "home"
        self.work = folder / "work"
        self._files = folder / "files"
        self._api = api
        self._mcp = mcp
        self._mark = 0
        self.prompt = "You are alice."
        for path in (self.home, self.work):
            path.mkdir()

    def make(
        self, command: Sequence[str] | None = None, *, logged_in: bool = True, settings: dict[str, Any] | None = None
    ) -> Runtime:
        env = {
            "PATH": os.environ["PATH"],
            "NO_PROXY": "127.0.0.1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            **({"CLAUDE_CODE_OAUTH_TOKEN": "dummy"} if logged_in else {}),
        }
        table = {"runtime": "claude", "command": list(command or [str(CLAUDE)]), **(settings or {})}
        endpoint = self._mcp.endpoint()
        enclosure = Enclosure(self.home, self.work, self._files, env, endpoint, lambda: Access(root=self._api.url))
        spec = RuntimeSpec(AgentName("alice"), False, AgentSettings.model_validate(table), enclosure, self.prompt)
        return ClaudeRuntime(spec)

    def script(self, *steps: Step) -> None:
        self._mark = len(self._api.calls("main"))
        self._api.push(*(_step(step) for step in steps))

    @contextmanager
    def failing(self, failure: Failure) -> Iterator[None]:
        self._mark = len(self._api.calls("main"))
        if failure.kind == "away":
            with self._api.away():
                yield
            return
        self._api.always(_failure(failure))
        try:
            yield
        finally:
            self._api.always(None)

    def conversation(self) -> str:
        return json.dumps(self._api.calls("main")[-1]["body"])

    def model(self) -> str:
        return str(self._api.calls("main")[-1]["body"]["model"])

    def requests(self) -> int:
        return len(self._api.calls())

    async def asked(self) -> None:
        while len(self._api.calls("main")) <= self._mark:
            await asyncio.sleep(0.01)

    async def holds(self, record: Record) -> None:
        while [line.get("state") for line in record.lines if isinstance(line, dict)].count("queued") < 2:
            await asyncio.sleep(0.01)


def _step(step: Step) -> dict[str, Any]:
    match step:
        case Say(text, 0.0, use):
            return {"text": text, "usage": _usage(use)}
        case Say(text, seconds, use):
            return {"text": text, "usage": _usage(use), "chunks": round(seconds / _PIECE), "delay": _PIECE}
        case Call(tool, arguments, use):
            server = "" if "__" in tool else "hive__"
            return {"tool": f"mcp__{server}{tool}", "input": arguments, "usage": _usage(use)}
        case Shell(command):
            return {"tool": "Bash", "input": {"command": command, "description": "a command"}}


def _usage(use: Use) -> dict[str, int]:
    fresh = use.given - use.cached
    return {"input_tokens": fresh, "cache_read_input_tokens": use.cached, "output_tokens": use.made}


def _failure(failure: Failure) -> dict[str, Any]:
    match failure.kind:
        case "limit" if failure.resets is not None:
            unified = {"status": "rejected", "reset": str(int(failure.resets)), "representative-claim": "five_hour"}
            headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in unified.items()}
            return {"error": 429, "headers": headers}
        case "overflow":
            return {"error": 400, "kind": "prompt_too_long"}
        case "hang":
            return {"hang": 20}
        case kind:
            return {"error": {"limit": 429, "overload": 529, "key": 401, "no-model": 404, "refused": 400}[kind]}
