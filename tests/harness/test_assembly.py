"""The parts of a harness: made again if they could not be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.assembly import other_port, take_turns
from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.link import Link
from harness.relay.egress import Misses
from harness.runtimes.base import Enclosure
from harness.way_out.way_out import WayOut
from meta.agent_toml.settings import AgentSettings, parse_settings
from meta.names import AgentName
from meta.wire.link import TurnState
from tests.support.scripted_runtime import ScriptedRuntime

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_an_agent_whose_folders_cannot_be_made_is_parked_until_they_can(
    base: Path, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    @asynccontextmanager
    async def enclosed(
        _: Environment, __: AgentSettings, ___: Mapping[str, str]
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
        turns = tasks.create_task(take_turns(environment, settings, gate, link, bus))
        await hive.post("operator", "work")
        await hive.until(lambda: hive.turn is TurnState.PARKED)
        assert "No space left on device; free space: it is tried every minute" in hive.states[-1].reason
        full = False
        await hive.until(lambda: hive.acks == 1)
        linked.cancel()
        turns.cancel()
    store.close()
    assert [request.message.body for request in runtime.requests] == ["work"]


def test_another_port_than_hive_chose_is_noted() -> None:
    env = {"https_proxy": "http://127.0.0.1:40001"}
    assert "3128 is taken, the way out is at 40001" in other_port(3128, env)
    assert other_port(40_001, env) == other_port(0, env) == ""
