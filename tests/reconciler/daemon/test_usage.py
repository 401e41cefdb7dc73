"""Turns and budgets in a whole daemon: an agent.toml that is deployed, the attention list, a restart, a purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meta.agent_toml.settings import AgentSettings, Budget
from meta.names import AgentName
from meta.wire.live import Usage, to_object

if TYPE_CHECKING:
    from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")


async def turn(daemon: Daemon, id: int) -> None:
    usage = Usage(runtime="claude", model="haiku", seconds=1.0, ending="ok", cost_dollars=0.5)
    await daemon.service.turn_records.take(ALICE, "log1", id, daemon.world.clock(), to_object(usage))


async def test_a_budget_that_is_used_up_is_a_row_of_the_attention_list_and_a_purge_forgets_all_of_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settings(_agent: AgentName) -> AgentSettings:
        return AgentSettings(budget=Budget(turns=1))

    monkeypatch.setattr(daemon.service.budgets, "_settings", settings)
    await turn(daemon, 1)
    (row,) = [row for row in (await daemon.service.status.see()).rows if row.kind == "agent-over-budget"]
    assert (row.agent, row.title, row.command) == (
        ALICE,
        "the budget of alice for today is used up",
        "hive usage alice",
    )
    report = await daemon.service.usage(ALICE, None, 9)
    assert [(model.model, model.turns, model.cost) for model in report.agents[0].models] == [("haiku", 1, 0.5)]
    assert report.agents[0].over == "today's budget is used up: 1 of 1 turns"
    assert b'hive_turns_total{agent="alice",ending="ok"} 1.0' in await daemon.service.metrics()

    await daemon.service.agents.destroy(ALICE, "test", purge=True)
    assert await daemon.service.loop.settled(ALICE, 30)
    await daemon.service.budgets.round()
    report = await daemon.service.usage(ALICE, None, 9)
    assert (report.agents[0].models, report.agents[0].over, report.turns) == ([], None, [])
    assert b"hive_turns_total{" not in await daemon.service.metrics()


async def test_an_agent_that_used_up_a_new_budget_already_is_held_before_its_container_starts(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settings(_agent: AgentName) -> AgentSettings:
        return AgentSettings(budget=Budget(turns=1))

    for id in (1, 2):
        await turn(daemon, id)
    monkeypatch.setattr(daemon.service.budgets, "_settings", settings)
    assert not daemon.service.links.held(ALICE)
    await daemon.service.agents.restart(ALICE, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    assert daemon.service.links.held(ALICE)


async def test_the_deployed_settings_have_the_budget(daemon: Daemon) -> None:
    await turn(daemon, 1)
    (agent,) = (await daemon.service.usage(None, 0.0, 0)).agents
    assert (agent.agent, agent.budget.turns, agent.today.turns) == (ALICE, None, 1)
    assert daemon.service.budgets.over == {}
