"""A hive-egress in the test's own process: it speaks meta.network.control and carries nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meta.network.control import (
    LINE_LIMIT,
    VERSION,
    decode_line,
    encode_connections,
    encode_line,
    encode_report,
)
from meta.network.policy import Policy, policy_of
from meta.network.report import AgentReport, ConnectionRecord, Report


@dataclass
class FakeEgress:
    """What it obeys, and what it reports. `answers` replaces the answer to a question."""

    policies: list[Policy] = field(default_factory=list)
    agents: dict[str, AgentReport] = field(default_factory=dict)
    records: list[ConnectionRecord] = field(default_factory=list)
    routes: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    answers: dict[str, bytes] = field(default_factory=dict)
    version: int = VERSION
    pushed: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    watchers: int = 0

    @property
    def policy(self) -> Policy:
        """The policy that is obeyed."""
        return self.policies[-1]

    def report(self) -> Report:
        revision = self.policies[-1].revision if self.policies else ""
        return Report(self.version, "rev", 1, 0.0, revision, dict(self.agents), dict(self.routes), self.problems)

    def change(self) -> None:
        """Tell the watchers that something changed."""
        self.changed.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                asked = decode_line(line)
                writer.write(self.answers.get(asked["do"]) or encode_line(self._answer(asked)))
                await writer.drain()
                if asked["do"] == "watch":
                    await self._tell(writer)
        except ConnectionError:
            return
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        self.watchers += 1
        while True:
            await self.changed.wait()
            self.changed.clear()
            writer.write(encode_line({"changed": True}))
            await writer.drain()

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, object]:
        match asked["do"]:
            case "set-policy":
                self.policies.append(policy_of(asked["policy"]))
                self.pushed.set()
                return {"ok": True, "policy": self.policy.revision}
            case "report":
                return {"ok": True, "report": encode_report(self.report())}
            case "connections":
                records = [each for each in self.records if each.number > asked["after"]]
                return {"ok": True, "connections": encode_connections(records)}
            case "watch":
                return {"ok": True}
        return {"ok": False, "error": "what", "hint": "ask something else"}


@contextlib.asynccontextmanager
async def fake_egress(path: Path) -> AsyncIterator[FakeEgress]:
    """Listen at `path` until the end. What listens there already loses its name."""
    fake, tasks = FakeEgress(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await fake.serve(reader, writer)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(serve, path, limit=LINE_LIMIT)
    try:
        yield fake
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        path.unlink(missing_ok=True)
