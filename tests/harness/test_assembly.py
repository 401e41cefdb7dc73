"""The parts of a harness: made again if they could not be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.assembly import make_parts, other_port, take_turns
from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.inbox import Inbox
from harness.link import Link
from harness.relay.egress import Misses
from harness.runtimes.base import Enclosure
from harness.way_out.way_out import WayOut
from meta.agent_toml.settings import AgentSettings, parse_settings
from meta.names import AgentName
from meta.wire.link import TurnState
from meta.wire.live import Note
from tests.harness.fake_way_out import fake_way_out
from tests.support.scripted_runtime import EventList, ScriptedRuntime

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_an_agent_whose_folders_cannot_be_made_is_parked_until_they_can(
    base: Path, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    @asynccontextmanager
    async def enclosed(
        _: Environment, __: AgentSettings, ___: Mapping[str, str], *_kept_to: object
    ) -> AsyncIterator[tuple[Enclosure, WayOut]]:
        if full:
            raise OSError(28, "No space left on device")
        yield Enclosure(base, base, base, {}), WayOut(base / "egress", "http://127.0.0.1:9", "acp", base, Misses())

    runtime = ScriptedRuntime()
    monkeypatch.setattr("harness.assembly.enclosed", enclosed)
    monkeypatch.setattr("harness.assembly.make_runtime", lambda *_: runtime)
    monkeypatch.setattr("harness.assembly.orphans.adopt_everything", lambda: None)
    monkeypatch.setattr("harness.assembly.PROBLEM_SECONDS", 0.2)
    monkeypatch.setattr("harness.loop.PROBLEM_SECONDS", 0.2)
    settings = parse_settings(b'runtime = "acp"\ncommand = ["agent"]\n')
    (base / "state").mkdir()
    places = (base / "config", base / "run", base / "state", base / "agents")
    environment = Environment(AgentName("alice"), False, "g1", "n1", *places)
    gate, store = Gate(), EventStore(environment.events)
    bus = Bus(store)
    link = Link(environment, gate, bus)
    async with asyncio.TaskGroup() as tasks:
        linked = tasks.create_task(link.run())
        turns = tasks.create_task(take_turns(environment, settings, gate, link, bus, store))
        await hive.post("operator", "work")
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert "No space left on device; free space: it is tried every minute" in hive.states[-1].reason
        full = False
        await hive.until(lambda: hive.acks == 1)
        linked.cancel()
        turns.cancel()
    store.close()
    assert [request.message.body for request in runtime.requests] == ["work"]


async def test_a_runtime_without_a_cli_has_the_way_out_too_for_a_shell_in_its_container(base: Path) -> None:
    places = (base / "config", base / "run", base / "state", base / "agents")
    async with asyncio.timeout(20), fake_way_out() as way, AsyncExitStack() as stack:
        free = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port: int = free.sockets[0].getsockname()[1]
        free.close()
        await free.wait_closed()
        where = Environment(AgentName("bob"), False, "g1", "n1", *places, egress=way.folder, egress_port=port)
        settings, events = parse_settings(b'runtime = "script"\n'), EventList()
        inbox = Inbox(where.broker, manager=False)
        stack.callback(inbox.close)
        await make_parts(where, settings, inbox, events, stack)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT other.example:443 HTTP/1.1\r\n\r\n")
        assert b"403 other.example:443-is-not-on-the-list-of-alice" in await reader.readuntil(b"\r\n")
        writer.close()
        await make_parts(where, settings, inbox, events, stack)
    (note,) = (event.text for event in events.events if isinstance(event, Note))
    assert f"port {port} is taken" in note


def test_another_port_than_hive_chose_is_noted() -> None:
    url = "http://127.0.0.1:40001"
    assert "3128 is taken, the way out is at 40001" in other_port(3128, url)
    assert other_port(40_001, url) == other_port(0, url) == ""
