"""A hive that goes down waits for every worker, and stays up if it is interrupted or an agent does not end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meta.config import Config
from meta.names import AgentName
from reconciler.agents.swarm import Swarm
from reconciler.loop.loop import Reconciler

ALICE, BOB = AgentName("alice"), AgentName("bob")


class Fakes:
    """A world and a loop whose containers are a set of names."""

    def __init__(self, *running: AgentName) -> None:
        self.running = set(running)
        self.goes_down = False
        self.looked: list[AgentName] = []
        self.events: list[tuple[object, ...]] = []
        self.time = 0.0
        self.swarm = Swarm(self.world(), cast("Reconciler", self), cast("Any", None))

    def world(self) -> Any:
        observer = SimpleNamespace(
            names=lambda: {ALICE, BOB},
            observe=lambda name: SimpleNamespace(container=SimpleNamespace(running=name in self.running)),
            go_down=lambda down: setattr(self, "goes_down", down),
        )
        drains = SimpleNamespace(skip=lambda _: None)
        events = SimpleNamespace(append=self.append)
        return SimpleNamespace(observer=observer, drains=drains, events=events, config=Config(), clock=self.clock)

    async def append(self, *event: object) -> None:
        self.events.append(event)

    def clock(self) -> float:
        self.time += 1.0
        return self.time

    def interrupt(self, _agent: AgentName) -> None:
        pass

    def look_now(self, agent: AgentName) -> None:
        self.looked.append(agent)

    @property
    def queue(self) -> Any:
        return SimpleNamespace(depth=lambda: len(self.running))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.agents.swarm.LOOK_SECONDS", 0.0)


async def test_it_is_down_once_nothing_runs_and_stays_so() -> None:
    fakes = Fakes(ALICE)
    going = asyncio.ensure_future(fakes.swarm.down("operator"))
    await asyncio.sleep(0)
    assert not going.done()
    fakes.running.clear()
    outcomes = await going
    assert [(each.agent, each.accepted) for each in outcomes] == [(ALICE, "stop")]
    assert fakes.goes_down
    assert fakes.events == [("hive_down", None, {"by": "operator", "agents": [ALICE]})]


async def test_a_caller_that_leaves_keeps_the_hive_up() -> None:
    fakes = Fakes(ALICE)
    going = asyncio.ensure_future(fakes.swarm.down("operator"))
    await asyncio.sleep(0)
    assert fakes.goes_down
    going.cancel()
    await asyncio.wait({going})
    assert not fakes.goes_down
    assert sorted(fakes.looked) == [ALICE, BOB]
    assert fakes.events == []


async def test_an_agent_that_does_not_end_keeps_the_hive_up_and_is_named() -> None:
    fakes = Fakes(ALICE, BOB)
    going = asyncio.ensure_future(fakes.swarm.down("operator", now=True))
    await asyncio.sleep(0)
    fakes.running.discard(BOB)
    outcomes = await going
    assert [(each.agent, each.error) for each in outcomes] == [(ALICE, "it does not end"), (BOB, None)]
    assert not fakes.goes_down
