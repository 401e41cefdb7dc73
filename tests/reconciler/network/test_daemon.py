"""The way out in a whole daemon: rules follow what is deployed, grants and budgets what hive has of them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from meta.agent_toml.settings import AgentSettings, Budget
from meta.names import AgentName
from meta.network.report import AgentReport, Metered
from reconciler.plan.budget import day_of
from tests.support.fake_egress import FakeEgress, fake_egress

if TYPE_CHECKING:
    import pytest

    from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")


def rules(fake: FakeEgress) -> list[str]:
    return [rule.text for rule in fake.policy.agents[ALICE].rules]


async def test_a_deploy_pushes_its_rules_when_it_switches_and_not_before(daemon: Daemon) -> None:
    service = daemon.service
    async with fake_egress(daemon.world.layout.egress_control) as fake:
        await service.way_out.push()
        assert rules(fake) == []
        id = (await service.settings.propose(ALICE, "test", '[network]\nallow = ["a.example"]\n')).id
        await service.way_out.push()
        assert len(fake.policies) == 1
        await service.proposals.approve(id, "operator")
        assert await service.loop.settled(ALICE, 30)
        assert rules(fake) == ["a.example"]

        await service.agents.destroy(ALICE, "test", purge=True)
        assert await service.loop.settled(ALICE, 30)
        await service.way_out.push()
        assert ALICE not in fake.policy.agents


async def test_metered_tokens_use_a_budget_up_and_that_closes_the_keys(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, now = daemon.service, daemon.world.clock()
    budget = AgentSettings(budget=Budget(tokens=100))

    async def settings(_agent: AgentName) -> AgentSettings:
        return budget

    monkeypatch.setattr(service.budgets, "_settings", settings)
    day = (datetime.date(1970, 1, 1) + datetime.timedelta(days=day_of(now))).isoformat()
    async with fake_egress(daemon.world.layout.egress_control) as fake:
        fake.agents["alice"] = AgentReport(metered={day: Metered(1, 90, 20)})
        await service.way_out.push()
        assert service.way_out.report is not None
        await service.way_out.notify()
        await service.way_out.push()
        assert fake.policy.agents[ALICE].held == "today's budget is used up: 110 of 100 tokens"
        report = await service.usage(ALICE, None, 0)
        assert (report.agents[0].metered_tokens, report.agents[0].today.tokens) == (110, 110)
        assert b'hive_egress_tokens_total{agent="alice",kind="input"} 90.0' in await service.metrics()

        budget = AgentSettings(budget=Budget(tokens=1000))
        await service.budgets.round()
        await service.way_out.push()
        assert fake.policy.agents[ALICE].held == ""


async def test_what_is_wrong_with_the_way_out_is_in_the_status_and_in_attention(daemon: Daemon) -> None:
    service = daemon.service
    async with fake_egress(daemon.world.layout.egress_control) as fake:
        fake.routes = {"anthropic": "/etc/key: readable by others"}
        fake.problems = ("no more descriptors",)
        fake.agents["alice"] = AgentReport(problem="its directory is missing")
        daemon.world.layout.network_file.write_text("groups = 3\n")
        await service.way_out.push()
        seen = await service.status.see()
    notes = [note for note in seen.status.notes if "way out" in note or "hive-egress" in note]
    assert notes[0].startswith("the way out: ")
    assert "network.toml" in notes[0]
    assert notes[1:] == [
        "the key anthropic of the way out: /etc/key: readable by others",
        "hive-egress: no more descriptors",
    ]
    assert [row.kind for row in seen.rows if row.kind == "way-out"] == ["way-out"] * 3
    (alice,) = [row for row in seen.status.agents if row.agent == ALICE]
    assert "it has no way out: its directory is missing" in str(alice)
