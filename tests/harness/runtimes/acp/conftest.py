"""A runtime of a preset whose agent is a program of the tests, and a sink that remembers."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.asides import Aside
from harness.runtimes.acp.adapter import AcpRuntime
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import Enclosure, McpEndpoint, RuntimeSpec, Tokens, TurnOutcome, TurnRequest
from meta.agent_toml.settings import AgentSettings
from meta.names import AgentName
from meta.wire.agent import MessageResponse
from meta.wire.live import AnyItem, Text, ToolCall

AGENT = Path(__file__).parents[3] / "support" / "acp_agent.py"
STREAMS = Path(__file__).parent / "streams"


@dataclass
class Seen:
    """What the sink got."""

    lines: list[tuple[Sequence[AnyItem], object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repeated: list[object] = field(default_factory=list)

    def line(self, items: Sequence[AnyItem], line: object, *, repeated: bool = False) -> None:
        self.lines.append((items, line))
        if repeated:
            self.repeated.append(line)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def aside(self, aside: Aside) -> None:
        """Nothing: only those see it who watch."""

    def spent(self, tokens: Tokens) -> None:
        """Nothing: no ACP agent says it within a turn."""

    def compacted(self, before: int | None, after: int | None) -> None:
        """Nothing: no ACP agent says it."""

    @property
    def items(self) -> list[AnyItem]:
        return [item for items, _ in self.lines for item in items]

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self.items if isinstance(item, Text)]

    @property
    def tools(self) -> list[str]:
        return [item.name for item in self.items if isinstance(item, ToolCall)]


@dataclass
class Stage:
    """Makes runtimes, does turns with them, and ends them."""

    folder: Path
    seen: Seen = field(default_factory=Seen)
    runtimes: list[AcpRuntime] = field(default_factory=list)

    def spec(self, preset: str, *, prompt: str = "", mcp: McpEndpoint | None = None, **settings: Any) -> RuntimeSpec:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        enclosure = Enclosure(self.folder, self.folder, self.folder / "files", env, mcp)
        return RuntimeSpec(
            AgentName("alice"), False, AgentSettings.model_validate({"runtime": preset, **settings}), enclosure, prompt
        )

    def runtime(self, preset: str, *words: str, **more: Any) -> AcpRuntime:
        command = [sys.executable, str(AGENT), *words] if words else None
        runtime = AcpRuntime(self.spec(preset, command=command, **more), PRESETS[preset])
        self.runtimes.append(runtime)
        return runtime

    def request(self, text: str = "do it", **more: Any) -> TurnRequest:
        return TurnRequest(MessageResponse(sender="bob", body=text), text, **more)

    async def turn(self, runtime: AcpRuntime, **more: Any) -> TurnOutcome:
        return await runtime.turn(self.request(**more), self.seen)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    for runtime in stage.runtimes:
        await runtime.close()
