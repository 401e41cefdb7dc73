"""Requests, denials and refusals on a database alone: each is recorded once, over restarts of the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from meta.errors import Conflict, NotFound, Refused, TransientError
from meta.names import OPERATOR, AgentName
from meta.network.policy import Policy
from meta.network.report import AgentReport, ConnectionRecord, Refusal, Report
from meta.network.verdict import Verdict
from reconciler.common.token_bucket import EVENTS_AT_ONCE, Allowance
from reconciler.events.feed import Events
from reconciler.network.answers import Answers
from reconciler.network.requests import PENDING_MOST, Requests
from reconciler.store import network_requests as rows
from reconciler.store.database import Database
from reconciler.store.messages import lists

ALICE = AgentName("alice")
NOW = 1_800_000_000.0


@dataclass
class Reporting:
    """A way out that only reports."""

    agents: dict[str, AgentReport] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    obeyed: Policy | None = None
    problem: str = ""

    @property
    def report(self) -> Report:
        return Report(1, "rev", 1, 1.0, "another", self.agents)

    async def push(self) -> None:
        raise TransientError("away")

    async def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        return []


class Lab:
    """The parts on a database. `restart` makes those that a new daemon has."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.events = Events(db)
        self.way_out = Reporting()
        self.now = NOW
        self.allowance = Allowance(lambda: self.now)
        self.restart()

    def restart(self) -> None:
        self.requests = Requests(
            self.db, known=lambda name: name == ALICE, allowance=self.allowance, clock=lambda: self.now
        )
        self.answers = Answers(
            self.events.append,
            self.way_out,
            self.requests,
            names=lambda: [ALICE],
            grants=lambda _: (),
            ceiling=lambda: None,
            allowance=self.allowance,
            clock=lambda: self.now,
        )

    def refuse(self, host: str, count: int = 1, first: float = 5.0, verdict: Verdict = Verdict.NOT_LISTED) -> None:
        refusals = (Refusal(host, 443, verdict, count, first, first + 1), Refusal("*", 0, verdict, 9, 5.0, 6.0))
        self.way_out.agents["alice"] = AgentReport(refusals=refusals)

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.events.since(None)]

    async def mail(self) -> list[str]:
        messages = await self.db.read(lambda connection: lists.recent(connection, ALICE, 50))
        return [message.body for message in messages if message.sender == OPERATOR]


@pytest.fixture
async def lab(db: Database) -> AsyncIterator[Lab]:
    made = Lab(db)
    yield made
    await made.events.close()


async def test_the_same_request_counts_and_many_are_bounded(lab: Lab) -> None:
    first = await lab.requests.ask(ALICE, "crates.io", 443, "to build")
    again = await lab.requests.ask(ALICE, "crates.io", 443, "please")
    assert (again.id, again.count, again.why) == (first.id, 2, "to build")
    for number in range(PENDING_MOST - 1):
        await lab.requests.ask(ALICE, f"h{number}.example", 443, "x")
    with pytest.raises(Conflict, match="has 20 network requests pending"):
        await lab.requests.ask(ALICE, "one.more", 443, "x")
    assert await lab.kinds() == ["network_requested"] * PENDING_MOST
    with pytest.raises(NotFound):
        await lab.requests.ask(AgentName("bob"), "crates.io", 443, "x")


async def test_an_agent_that_asks_and_asks_has_to_wait(lab: Lab) -> None:
    lab.allowance.spend(ALICE, EVENTS_AT_ONCE - 1)
    with pytest.raises(TransientError, match="makes events too fast"):
        await lab.requests.ask(ALICE, "crates.io", 443, "x")


async def test_a_denial_is_one_message_and_asking_again_at_once_gets_the_same_answer(lab: Lab) -> None:
    await lab.requests.ask(ALICE, "crates.io", 443, "to build")
    await lab.requests.deny(ALICE, 1, "ann", "use the\nmirror")
    assert await lab.mail() == ["Your request 1: crates.io:443 is denied: use the mirror."]
    with pytest.raises(Conflict, match="request 1 was denied already, by ann"):
        await lab.requests.deny(ALICE, 1, "bob")
    with pytest.raises(NotFound, match="not of bob but of alice"):
        await lab.requests.deny(AgentName("bob"), 1, "bob")
    with pytest.raises(Refused, match=r"denied a moment ago\. Your request 1"):
        await lab.requests.ask(ALICE, "crates.io", 443, "please")
    lab.now += 601
    assert (await lab.requests.ask(ALICE, "crates.io", 443, "please")).id == 2
    (denied,) = [event for event in await lab.events.since(None) if event.kind == "network_denied"]
    assert denied.data == {"id": 1, "rule": "crates.io:443", "by": "ann", "reason": "use the mirror"}


async def test_decided_requests_are_kept_in_a_bounded_number(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "DECIDED_KEPT", 2)
    for number in range(4):
        await lab.requests.ask(ALICE, f"h{number}.example", 443, "x")
        await lab.requests.deny(ALICE, number + 1, "ann")
    await lab.requests.ask(ALICE, "last.example", 443, "x")
    with pytest.raises(NotFound):
        await lab.requests.get(2)
    assert (await lab.requests.get(3)).decision == "denied"
    await lab.requests.forget(ALICE)
    assert await lab.requests.pending() == []


async def test_a_refused_host_is_one_event_over_restarts(lab: Lab) -> None:
    for count in (12, 13):
        lab.refuse("crates.io", count)
        await lab.answers.look()
        lab.restart()
    lab.refuse("crates.io", first=99.0)  # allowed meanwhile, and refused again
    await lab.answers.look()
    refused = [event.data for event in await lab.events.since(None)]
    assert refused == [{"host": "crates.io", "port": 443}] * 2


async def test_only_what_the_operator_could_allow_is_an_event(lab: Lab) -> None:
    for verdict in Verdict:
        lab.refuse(f"{verdict}.example", verdict=verdict)
        await lab.answers.look()
    assert [event.data["host"] for event in await lab.events.since(None)] == ["not-listed.example"]


async def test_refused_hosts_wait_for_the_allowance_of_the_agent(lab: Lab) -> None:
    lab.allowance.spend(ALICE, EVENTS_AT_ONCE)
    lab.refuse("crates.io")
    await lab.answers.look()
    assert await lab.kinds() == []
    lab.now += 60
    await lab.answers.look()
    assert await lab.kinds() == ["network_refused"]


async def test_a_failure_to_record_is_no_failure_of_the_way_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise TransientError("the disk is full")

    lab.refuse("crates.io")
    monkeypatch.setattr(lab.answers, "_append", full)
    await lab.answers.on_report(lab.way_out.report)
    lab.restart()
    await lab.answers.on_report(replace(lab.way_out.report, policy="x"))
    assert await lab.kinds() == ["network_refused"]
