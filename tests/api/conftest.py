"""The real sockets over a fake service, and a client of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import unittest.mock
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.cli.main import execute
from api.daemon.agent_sockets import AgentSockets
from api.daemon.operator_sockets import serve_operator
from api.lines.host import host_server
from api.sockets.listener import bind
from meta.config import Config
from meta.layout import Layout
from meta.names import MANAGER, AgentName
from meta.wire.agent import AGENT_RESPONSE
from meta.wire.codec import decode
from meta.wire.manager import MANAGER_RESPONSE
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker
from reconciler.service import Service
from reconciler.store.database import Database
from tests.support.fake_service import NOW, FakeService


@dataclass
class Hive:
    """A running API over a FakeService."""

    fake: FakeService
    layout: Layout
    config: Config
    sockets: AgentSockets
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def service(self) -> Service:
        return self.fake.parts()

    def environment(self) -> dict[str, str]:
        """What a command needs to find this API, and nothing else."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HIVE_STATE": str(self.layout.state),
            "HIVE_RUNTIME": str(self.layout.runtime),
            "TZ": "UTC",
        }

    async def hive(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command line in a thread, against this API: exit code, output, errors."""
        out, err = io.StringIO(), io.StringIO()
        with (
            unittest.mock.patch.dict(os.environ, self.environment(), clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            async with asyncio.timeout(30):
                code = await asyncio.to_thread(execute, list(arguments))
        return code, out.getvalue(), err.getvalue()

    async def program(self, *command: str, **variables: str) -> asyncio.subprocess.Process:
        """Start a program of its own with this API's environment; `command` is what follows `python`."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *command),
            env={**self.environment(), **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def lines(self, path: Path, *requests: bytes) -> list[bytes]:
        """What a line socket answers to `requests`, sent at once and followed by the end of the requests."""
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"".join(requests))
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        return answer.splitlines()

    async def ask(self, agent: AgentName, *requests: str) -> list[dict[str, object]]:
        answers = await self.lines(self.layout.mcp_socket(agent), *(line.encode() + b"\n" for line in requests))
        for answer in answers:
            if agent == MANAGER:
                decode(MANAGER_RESPONSE, answer)
            else:
                decode(AGENT_RESPONSE, answer)
        return [json.loads(answer) for answer in answers]


@pytest.fixture
def line_limit() -> int:
    """Bytes; short, so that what is longer is soon made. A module may have its own."""
    return 4096


@pytest.fixture
async def mute(tmp_path: Path, line_limit: int) -> AsyncIterator[Hive]:
    """The service without a socket."""
    layout = Layout(tmp_path / "s", tmp_path / "r")
    config = Config.model_validate({"max_line_bytes": line_limit})
    for directory in (layout.state, layout.runtime):
        directory.mkdir()
    database = await Database.open(layout.database)
    events = Events(database)
    names: list[AgentName] = []
    broker = Broker(database, known=lambda name: name in names, clock=NOW)
    fake = FakeService(layout, events, broker)
    names = fake.names
    fake.attach(database, tmp_path / "states")
    serving = asyncio.get_running_loop().create_future()
    serving.set_result(fake.parts())
    running = Hive(fake, layout, config, AgentSockets(layout, config, serving))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        stack.push_async_callback(events.close)
        stack.push_async_callback(broker.close)
        stack.push_async_callback(fake.live.close)
        stack.push_async_callback(fake.links.close)
        yield running


@pytest.fixture
async def pods(mute: Hive) -> AsyncIterator[Hive]:
    """The sockets of alice and of the manager, listening."""
    for agent in mute.fake.names:
        await mute.sockets.open(agent, None)
    yield mute
    await mute.sockets.close_all()


@pytest.fixture
async def host(pods: Hive) -> AsyncIterator[Hive]:
    """host.sock too."""
    server = host_server(bind(pods.layout.host_socket), pods.service, limit=pods.config.max_line_bytes)
    await server.start()
    yield pods
    await server.close()


@pytest.fixture
async def hive(pods: Hive) -> AsyncIterator[Hive]:
    """host.sock and http.sock too."""
    async with serve_operator(pods.service, pods.layout, pods.config, pods.stopping):
        yield pods
