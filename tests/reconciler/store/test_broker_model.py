"""The broker behaves as its model over cancels, restarts and kills."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from meta.errors import TransientError
from reconciler.store.db import Database
from reconciler.store.messages import Broker

AGENTS = {"manager", "alice", "bob"}


def broker_on(db: Database, inbox_limit: int = 1000) -> Broker:
    return Broker(db, AGENTS.__contains__, inbox_limit=inbox_limit, body_limit=100, clock=lambda: 1234.9)


@pytest.fixture
async def broker(db: Database) -> AsyncIterator[Broker]:
    service = broker_on(db)
    yield service
    await service.close()


async def bodies(broker: Broker, agent: str) -> list[str]:
    """Everything that waits, handed out."""
    found = []
    while (delivery := await broker.recv(agent, 0)) is not None:
        found.append(delivery.body)
    return found


class BrokerModel(RuleBasedStateMachine):
    """The broker beside two lists per inbox. A kill continues on a copy of the files as they are at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="hive-broker-"))
        self.kills = 0
        self.waiting: dict[str, list[tuple[int, str, str]]] = {"alice": [], "bob": []}
        self.in_flight: dict[str, list[tuple[int, str, str]]] = {"alice": [], "bob": []}
        self.handed_out: set[int] = set()
        self.sent: dict[str, list[int]] = {"alice": [], "bob": []}
        self.path = self.directory / "0.db"
        self._open()

    def _open(self) -> None:
        self.db = self.runner.run(Database.open(self.path))
        self.broker = broker_on(self.db, inbox_limit=4)

    names = st.sampled_from(["alice", "bob"])

    @rule(sender=st.sampled_from(["manager", "operator"]), to=names, body=st.text("ab\0é", max_size=3))
    def send(self, sender: str, to: str, body: str) -> None:
        if len(self.waiting[to]) >= 4:
            with pytest.raises(TransientError):
                self.runner.run(self.broker.send(sender, to, body))
            return
        id = self.runner.run(self.broker.send(sender, to, body))
        self.waiting[to].append((id, sender, body))
        self.sent[to].append(id)

    @rule(agent=names)
    def recv(self, agent: str) -> None:
        got = self.runner.run(self.broker.recv(agent, 0))
        if not self.waiting[agent]:
            assert got is None
            return
        expected = self.waiting[agent].pop(0)
        assert got is not None
        assert (got.id, got.sender, got.body) == expected
        assert got.redelivered == (got.id in self.handed_out)
        self.handed_out.add(got.id)
        self.in_flight[agent].append(expected)

    @rule(agent=names, turns=st.integers(0, 8))
    def recv_cancelled(self, agent: str, turns: int) -> None:
        async def cancelled() -> int | None:
            receiver = asyncio.create_task(self.broker.recv(agent, 3600))
            for _ in range(turns):
                await asyncio.sleep(0)
            receiver.cancel()
            try:
                got = await receiver
            except asyncio.CancelledError:
                return None
            return got.id if got else None

        if (id := self.runner.run(cancelled())) is not None:
            expected = self.waiting[agent].pop(0)
            assert id == expected[0]
            self.handed_out.add(id)
            self.in_flight[agent].append(expected)
        # the message of a cancelled one is on its way back; `close` and the next recv wait for that
        self.runner.run(self._settled(agent))

    async def _settled(self, agent: str) -> None:
        if tasks := [task for task in asyncio.all_tasks() if task.get_name() == f"put-back {agent}"]:
            await asyncio.wait(tasks)

    @rule(agent=names)
    def ack(self, agent: str) -> None:
        assert self.runner.run(self.broker.ack_turn(agent)) == len(self.in_flight[agent])
        self.in_flight[agent].clear()

    @rule(agent=names)
    def requeue(self, agent: str) -> None:
        assert self.runner.run(self.broker.requeue_inflight(agent)) == len(self.in_flight[agent])
        self.waiting[agent] = sorted(self.waiting[agent] + self.in_flight[agent])
        self.in_flight[agent] = []

    @precondition(lambda self: self.kills < 2)
    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        self.kills += 1
        if killed:
            copy = self.directory / f"{self.kills}.db"
            for suffix in ("", "-wal"):
                shutil.copy(f"{self.path}{suffix}", f"{copy}{suffix}")
            self.path, old = copy, self.db
            self.runner.run(old.close())
        else:
            self.runner.run(self.broker.close())
            self.runner.run(self.db.close())
        self._open()

    @invariant()
    def counts_and_history_agree(self) -> None:
        for agent in ("alice", "bob"):
            assert self.runner.run(self.broker.unread(agent)) == len(self.waiting[agent])
            recent = self.runner.run(self.broker.recent(agent, 1000))
            assert [row.id for row in recent] == self.sent[agent][::-1]

    @override
    def teardown(self) -> None:
        self.runner.run(self.broker.close())
        self.runner.run(self.db.close())
        self.runner.close()
        shutil.rmtree(self.directory)


def test_the_broker_behaves_as_its_model_over_cancels_restarts_and_kills() -> None:
    bounds = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(BrokerModel, settings=bounds)
