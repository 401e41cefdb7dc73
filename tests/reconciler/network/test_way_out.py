"""The daemon keeps hive-egress's policy that of now: by level, and before what depends on it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meta.agent_toml.network import Network
from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput, PermanentError, TransientError
from meta.model import NetworkGrant
from meta.names import AgentName, GenerationId
from meta.network.report import AgentReport, ConnectionRecord, Report
from meta.network.verdict import Verdict
from reconciler.network.client import EgressClient
from reconciler.network.operator import OperatorSettings
from reconciler.network.policies import DAMAGED, Policies, Sources
from reconciler.network.way_out import AWAY, CHANGES, PERIOD, WayOut
from reconciler.observe.commits import RunningCommits
from reconciler.observe.roster import Roster
from reconciler.observe.settings import CLOSED
from reconciler.plan.observed import Container, Launch
from tests.support.fake_egress import FakeEgress, fake_egress

ALICE, BOB = AgentName("alice"), AgentName("bob")
LAUNCH = Launch(GenerationId("g"), "f", "n", 0.0)


def reaching(*allow: str) -> AgentSettings:
    return AgentSettings(network=Network(allow=list(allow)))


@dataclass
class Hive:
    """The facts, as a test sets them, and the way out on them."""

    folder: Path
    settings: dict[AgentName, AgentSettings | TransientError] = field(default_factory=dict)
    grants: dict[AgentName, tuple[NetworkGrant, ...]] = field(default_factory=dict)
    held: dict[AgentName, str] = field(default_factory=dict)
    identities: dict[AgentName, str] = field(default_factory=dict)
    meta_fails: bool = False
    runs: bool = True

    def __post_init__(self) -> None:
        sources = Sources(
            self.refresh,
            lambda: sorted(self.settings),
            self.read,
            lambda agent: self.grants.get(agent, ()),
            lambda agent: self.held.get(agent, ""),
            OperatorSettings(self.folder / "network.toml"),
            lambda agent: self.identities.get(agent, "first"),
            asyncio.get_running_loop().time,
        )
        self.client = EgressClient(self.folder / "run" / "control.sock")
        running = RunningCommits(Roster(dict), lambda _: Container(pid=7 if self.runs else None))
        self.way_out = WayOut(self.client, Policies(sources), running)

    async def refresh(self) -> None:
        if self.meta_fails:
            raise BadInput("agents.json is damaged")

    async def read(self, agent: AgentName) -> AgentSettings:
        settings = self.settings[agent]
        if isinstance(settings, TransientError):
            raise settings
        return settings

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.way_out.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


def rules(fake: FakeEgress, agent: AgentName = ALICE) -> list[str]:
    return [rule.text for rule in fake.policy.agents[agent].rules]


@pytest.fixture
async def hive(tmp_path: Path) -> Hive:
    return Hive(tmp_path, {ALICE: reaching("a.example")})


async def test_a_push_returns_once_the_policy_of_now_is_obeyed_and_pushes_an_equal_one_no_second_time(
    hive: Hive,
) -> None:
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.push()
        assert rules(fake) == ["a.example"]
        await hive.way_out.push()
        assert len(fake.policies) == 1
        hive.settings[ALICE] = reaching("b.example")
        hive.settings[BOB] = reaching()
        await hive.way_out.push()
        assert (rules(fake), rules(fake, BOB)) == (["b.example"], [])
        assert hive.way_out.report == fake.report()
        del hive.settings[ALICE]
        await hive.way_out.push()
        assert list(fake.policy.agents) == [BOB]


async def test_a_push_raises_while_nothing_answers_and_names_the_problem_until_something_does(hive: Hive) -> None:
    with pytest.raises(TransientError, match="cannot be reached"):
        await hive.way_out.push()
    assert "cannot be reached" in hive.way_out.problem
    async with fake_egress(hive.client.path):
        await hive.way_out.push()
        assert hive.way_out.problem == ""


async def test_a_hive_whose_agents_reach_nothing_misses_no_hive_egress(hive: Hive) -> None:
    hive.settings[ALICE] = reaching()
    with pytest.raises(TransientError):
        await hive.way_out.push()
    assert hive.way_out.problem == ""


async def test_a_hive_egress_of_another_protocol_gets_no_policy(hive: Hive) -> None:
    async with fake_egress(hive.client.path) as fake:
        fake.version += 1
        with pytest.raises(PermanentError, match="speaks protocol 2, this daemon 1"):
            await hive.way_out.push()
        assert fake.policies == []


@pytest.mark.parametrize("unreadable", [CLOSED, TransientError("busy")])
async def test_an_agent_whose_settings_cannot_be_read_keeps_its_policy_and_gets_its_grants(
    hive: Hive, unreadable: AgentSettings | TransientError
) -> None:
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.push()
        hive.settings[ALICE] = unreadable
        hive.grants[ALICE] = (NetworkGrant("c.example", 10**10, "root", 0),)
        await hive.way_out.push()
        assert rules(fake) == ["a.example"]
        assert [grant.rule.text for grant in fake.policy.agents[ALICE].grants] == ["c.example"]
        assert (DAMAGED in hive.way_out.conditions(ALICE)) is (unreadable is CLOSED)


@pytest.mark.parametrize("unreadable", [CLOSED, TransientError("busy")])
async def test_a_first_look_that_cannot_read_an_agent_takes_nothing_from_it(
    hive: Hive, unreadable: AgentSettings | TransientError
) -> None:
    hive.settings[ALICE] = unreadable
    hive.grants[ALICE] = (NetworkGrant("c.example", 10**10, "root", 0),)
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.push()
        assert (list(fake.policy.agents), fake.policy.keep) == ([], frozenset({ALICE}))
        assert (DAMAGED in hive.way_out.conditions(ALICE)) is (unreadable is CLOSED)
        hive.settings[ALICE] = reaching("a.example")
        await hive.way_out.push()
        assert (rules(fake), fake.policy.keep) == (["a.example"], frozenset())


async def test_an_agent_of_whom_nothing_is_known_obeys_what_the_operator_takes_back(hive: Hive) -> None:
    hive.settings[ALICE] = CLOSED
    hive.grants[ALICE] = (NetworkGrant("c.example", 10**10, "root", 0),)
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.push()
        hive.grants[ALICE] = ()
        await hive.way_out.push()
        assert (rules(fake), fake.policy.agents[ALICE].grants, fake.policy.keep) == ([], (), frozenset())


async def test_keys_that_a_budget_closes_are_closed_for_an_agent_of_whom_nothing_is_known(hive: Hive) -> None:
    hive.settings[ALICE] = CLOSED
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.push()
        hive.held[ALICE] = "used up"
        await hive.way_out.push()
        assert fake.policy.agents[ALICE].held == "used up"


async def test_a_new_agent_of_an_old_name_has_another_identity_and_nothing_is_pushed_before_it_is_known(
    hive: Hive,
) -> None:
    async with fake_egress(hive.client.path) as fake:
        hive.identities[ALICE] = ""
        await hive.way_out.push()
        assert fake.policy.keep == frozenset({ALICE})
        hive.identities[ALICE] = "1-aa"
        await hive.way_out.push()
        assert fake.policy.agents[ALICE].identity == "1-aa"
        hive.identities[ALICE] = "2-bb"
        await hive.way_out.push()
        assert fake.policy.agents[ALICE].identity == "2-bb"


async def test_a_damaged_meta_keeps_the_way_out_as_it_is(hive: Hive) -> None:
    hive.meta_fails = True
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.push()
        assert rules(fake) == ["a.example"]


async def test_what_an_agent_has_no_way_out_for_is_a_condition_of_the_agent(hive: Hive) -> None:
    async with fake_egress(hive.client.path) as fake:
        fake.agents["alice"] = AgentReport(problem="no directory")
        await hive.way_out.push()
        assert hive.way_out.conditions(ALICE) == ("it has no way out: no directory",)
        assert hive.way_out.conditions(BOB) == ()
        hive.runs = False
        assert hive.way_out.conditions(ALICE) == ()


async def test_connections_are_those_of_hive_egress(hive: Hive) -> None:
    async with fake_egress(hive.client.path) as fake:
        fake.records = [ConnectionRecord(3, 0.0, "tunnel", "a.example", 443, Verdict.ALLOWED)]
        assert await hive.way_out.connections(ALICE, 2) == fake.records
        assert await hive.way_out.connections(ALICE, 3) == []


@pytest.mark.looptime
async def test_a_change_is_pushed_at_a_wake_and_without_one_a_few_seconds_later(hive: Hive) -> None:
    async with fake_egress(hive.client.path) as fake, hive.running():
        await fake.pushed.wait()
        fake.pushed.clear()
        began = asyncio.get_running_loop().time()
        hive.settings[ALICE] = reaching("b.example")
        hive.way_out.wake()
        await fake.pushed.wait()
        assert asyncio.get_running_loop().time() - began < 0.2
        fake.pushed.clear()
        began = asyncio.get_running_loop().time()
        hive.settings[ALICE] = reaching("c.example")
        await fake.pushed.wait()
        assert asyncio.get_running_loop().time() - began <= PERIOD + 0.2
        assert rules(fake) == ["c.example"]


@pytest.mark.looptime
async def test_changes_that_hive_egress_reports_reach_the_listeners_soon_and_not_more_often(hive: Hive) -> None:
    reports: list[Report] = []

    async def listen(report: Report) -> None:
        reports.append(report)

    hive.way_out.listen(listen)
    async with fake_egress(hive.client.path) as fake, hive.running():
        await asyncio.sleep(0.2)
        fake.agents["alice"] = AgentReport(open=5)
        began = asyncio.get_running_loop().time()
        fake.change()
        while not reports or "alice" not in reports[-1].agents:
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - began < CHANGES + 0.2
        before = len(reports)
        for _ in range(20):
            fake.change()
            await asyncio.sleep(0.1)
        assert 3 <= len(reports) - before <= 5


@pytest.mark.looptime
async def test_a_hive_egress_that_ends_and_comes_back_has_the_policy_within_two_seconds(hive: Hive) -> None:
    async with hive.running():
        async with fake_egress(hive.client.path) as fake:
            await fake.pushed.wait()
        await asyncio.sleep(AWAY)
        assert hive.way_out.problem
        async with fake_egress(hive.client.path) as fake, asyncio.timeout(2):
            await fake.pushed.wait()
            assert rules(fake) == ["a.example"]


# the start of an agent
async def test_the_rules_of_what_starts_are_obeyed_before_it_starts(hive: Hive) -> None:
    async with fake_egress(hive.client.path) as fake:
        await hive.way_out.before_launch(ALICE, LAUNCH)
        assert rules(fake) == ["a.example"]


async def test_without_hive_egress_an_agent_starts_all_the_same(hive: Hive) -> None:
    await hive.way_out.before_launch(ALICE, LAUNCH)
    assert hive.way_out.problem


@pytest.mark.looptime
async def test_a_hive_egress_that_hangs_holds_up_a_start_for_some_seconds_only(hive: Hive) -> None:
    async with fake_egress(hive.client.path) as fake:
        fake.answers["report"] = b"half"
        began = asyncio.get_running_loop().time()
        await hive.way_out.before_launch(ALICE, LAUNCH)
        assert asyncio.get_running_loop().time() - began <= 5
