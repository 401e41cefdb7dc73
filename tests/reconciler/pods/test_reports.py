"""Reports of agents' pods to the manager: hostile, twice, too many, and two agents that would wake each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meta.names import HIVE, MANAGER, AgentName
from meta.wire.link import PodReport, State, TurnState
from reconciler.messaging.broker import Broker
from reconciler.observe.links import Links
from reconciler.observe.sender import Sender
from reconciler.pods.reports import AT_ONCE, PodReports
from reconciler.store.database import Database
from tests.support.link_peer import ALICE, Peer, connect

BOB = AgentName("bob")
ALL = frozenset({"turn_ended", "errored", "shut_down", "scope_sub_delegated"})


@dataclass
class Reporting:
    """The reports of one test. `turn` counts the turns of alice."""

    db: Database
    now: float = 1_000.0
    wanted: frozenset[str] = ALL
    woken: list[str] = field(default_factory=list)
    turn: int = 0

    def __post_init__(self) -> None:
        self.links, self.sender = Links(lambda _: None), Sender()
        self.broker = Broker(self.db, known=lambda _: True, clock=lambda: self.now)
        self.reports = PodReports(
            self.links, self.db, self.kinds, self.woken.append, self.sender, clock=lambda: self.now
        )
        self.peer = connect(self.links)

    async def kinds(self) -> frozenset[str]:
        return self.wanted

    async def report(self, *events: dict[str, object], agent: AgentName = ALICE) -> None:
        for event in events:
            self.reports.take(agent, self.peer, PodReport(event=event))
        while self.sender._tasks:
            await asyncio.sleep(0)

    async def ends_a_turn(self) -> None:
        """Let alice take all her messages in a turn, and report its end."""
        self.turn += 1
        self.links.state(ALICE, self.peer, State(state=TurnState.THINKING, turn=self.turn))
        await self.takes(ALICE)
        await self.broker.ack_turn(ALICE)
        self.now += 100
        await self.report({"kind": "turn_ended", "pod_name": "alice"})

    async def takes(self, agent: str) -> None:
        while await self.broker.recv(agent, 0) is not None:
            pass

    async def inbox(self) -> list[str]:
        return [row.body for row in await self.broker.recent(MANAGER, 100) if row.sender == HIVE]


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Reporting]:
    database = await Database.open(tmp_path / "hive.sqlite")
    yield Reporting(database)
    await database.close()


async def test_each_report_of_the_own_pod_is_one_line_in_any_order_and_twice(hive: Reporting) -> None:
    scope = {"target": "/state/a\x1b[2J\nb", "permission": "write"}
    events: list[dict[str, object]] = [
        {"kind": "shut_down", "pod_name": "alice"},
        {"kind": "errored", "pod_name": "alice", "message": "no\nroom"},
        {"kind": "turn_ended", "pod_name": "alice"},
        {"kind": "scope_sub_delegated", "parent_pod": "alice", "sub_pod": "c", "sub_socket": "/x", "scope": [scope]},
    ]
    await hive.report(*events, *events)
    lines = sorted(await hive.inbox())
    assert lines[:2] == ["A turn of alice failed. It says: no room", "alice has finished a turn."]
    assert lines[2] == "alice has stopped."
    assert lines[3].startswith("alice says that its sub-agent c has write /state/a")
    assert len(lines) == 4
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert hive.woken == [MANAGER] * 4


async def test_what_is_not_asked_for_not_of_the_own_pod_or_no_report_changes_nothing(hive: Reporting) -> None:
    hive.wanted = frozenset({"shut_down"})
    await hive.report(
        {"kind": "turn_ended", "pod_name": "alice"},
        {"kind": "shut_down", "pod_name": "child"},
        {"kind": "shut_down"},
        {"kind": "melted", "pod_name": "alice"},
        {},
    )
    await hive.report({"kind": "shut_down", "pod_name": "manager"}, agent=MANAGER)
    hive.reports.take(ALICE, Peer(), PodReport(event={"kind": "shut_down", "pod_name": "alice"}))
    assert (await hive.inbox(), hive.woken) == ([], [])


async def test_ten_thousand_reports_are_a_few_lines(hive: Reporting) -> None:
    delegated: dict[str, object] = {"kind": "scope_sub_delegated", "parent_pod": "alice", "sub_socket": "", "scope": []}
    await hive.report(*({**delegated, "sub_pod": f"c{number}"} for number in range(10_000)))
    assert len(await hive.inbox()) == AT_ONCE


async def test_a_turn_that_goes_back_to_a_report_is_not_reported_over_any_agents(hive: Reporting) -> None:
    await hive.broker.send(MANAGER, ALICE, "do this")
    await hive.ends_a_turn()
    assert len(await hive.inbox()) == 1
    await hive.takes(MANAGER)  # it gets the report, and answers within that turn
    await hive.broker.send(MANAGER, ALICE, "thank you")
    await hive.broker.send(MANAGER, BOB, "alice is done")
    await hive.broker.ack_turn(MANAGER)
    await hive.ends_a_turn()
    assert len(await hive.inbox()) == 1
    hive.now += 100
    await hive.takes(BOB)
    await hive.broker.send(BOB, ALICE, "well done")
    await hive.broker.ack_turn(BOB)
    await hive.ends_a_turn()
    assert len(await hive.inbox()) == 1
    await hive.broker.send(MANAGER, ALICE, "now do that")  # in a turn of another message
    await hive.ends_a_turn()
    assert len(await hive.inbox()) == 2
