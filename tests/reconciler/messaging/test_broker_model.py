"""The broker behaves as its model over cancels, restarts and kills."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from meta.errors import TransientError
from reconciler.store.database import Database
from tests.support.broker import broker_on


class BrokerModel(RuleBasedStateMachine):
    """The broker beside two lists per inbox. A kill continues on a copy of the files as they are at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="hive-broker-"))
        self.kills = 0
        self.waiting: dict[str, list[tuple[int, str, str]]] = {"alice": [], "bob": []}
        self.in_flight: dict[str, list[tuple[int, str, str]]] = {"alice": [], "bob": []}
        self.attempts: Counter[int] = Counter()
        self.dead: list[int] = []
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
        assert got.redelivered == (self.attempts[got.id] > 0)
        self.attempts[got.id] += 1
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
            self.attempts[id] += 1
            self.in_flight[agent].append(expected)
        # the message of a cancelled one is on its way back; `close` and the next recv wait for that
        self.runner.run(self._settled(agent))

    async def _settled(self, agent: str) -> None:
        if tasks := [task for task in asyncio.all_tasks() if task.get_name() == f"release {agent}"]:
            await asyncio.wait(tasks)

    @rule(agent=names)
    def ack(self, agent: str) -> None:
        assert self.runner.run(self.broker.ack_turn(agent)) == len(self.in_flight[agent])
        self.in_flight[agent].clear()

    @rule(agent=names)
    def requeue(self, agent: str) -> None:
        again = [each for each in self.in_flight[agent] if self.attempts[each[0]] < 5]
        self.dead += [each[0] for each in self.in_flight[agent] if each not in again]
        assert self.runner.run(self.broker.requeue_inflight(agent)) == len(again)
        self.waiting[agent] = sorted(self.waiting[agent] + again)
        self.in_flight[agent] = []

    @rule(agent=names)
    def give_up(self, agent: str) -> None:
        """Take and requeue until what waited is dead."""
        for _ in range(5):
            for _ in range(len(self.waiting[agent])):
                self.recv(agent)
            self.requeue(agent)

    @precondition(lambda self: self.dead)
    @rule(revived=st.booleans())
    def decide_about_a_dead_letter(self, revived: bool) -> None:
        id = self.dead.pop(0)
        (letter,) = [each for each in self.runner.run(self.broker.dead_letters()) if each.id == id]
        if revived:
            self.runner.run(self.broker.revive(id))
            self.attempts[id] = 1
            self.waiting[letter.recipient] = sorted([*self.waiting[letter.recipient], (id, letter.sender, letter.body)])
        else:
            self.runner.run(self.broker.discard(id))
            self.sent[letter.recipient].remove(id)

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
        assert sorted(each.id for each in self.runner.run(self.broker.dead_letters())) == sorted(self.dead)

    @override
    def teardown(self) -> None:
        self.runner.run(self.broker.close())
        self.runner.run(self.db.close())
        self.runner.close()
        shutil.rmtree(self.directory)


def test_the_broker_behaves_as_its_model_over_cancels_restarts_and_kills() -> None:
    bounds = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(BrokerModel, settings=bounds)
