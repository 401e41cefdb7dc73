"""The page Plan: three groups of agents, every step in words, and the button that looks now."""

from __future__ import annotations

from dataclasses import replace

from api.ui.pages.plan.rows import STEPS, plan_view
from meta.names import AgentName, ProposalId
from reconciler.plan import steps
from reconciler.views import PlanRow
from tests.api.ui.conftest import Ui
from tests.api.ui.pages.agent.test_head import ROW
from tests.support.fake_service import ALICE

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target='#nav'>\u202eevil"


def test_every_step_of_the_plan_has_words() -> None:
    assert set(STEPS) == {step.name for step in steps.STEPS}


def test_what_hive_works_on_stands_before_what_it_leaves_to_a_person() -> None:
    rows = [
        PlanRow(AgentName("a"), "running", "none", "as desired"),
        PlanRow(AgentName("gone"), "absent", "none", "not an agent"),
        PlanRow(AgentName("b"), "failed", "none", "it ended", conditions=("failed: it ended",), remedy="`hive logs b`"),
        PlanRow(AgentName("c"), "draining", "drain", "12 replaces what runs", ProposalId(12), 9.0),
    ]
    view = plan_view(rows, ())
    assert [[row.agent for row in group] for group in (view.works, view.waits, view.rest)] == [["c"], ["b"], ["a"]]
    assert view.waits[0].more == ()
    assert [way.href for way in view.waits[0].ways] == ["/agents/b/restart", "/agents/b/logs"]
    assert view.works[0].until == 9.0


def test_a_remedy_that_a_condition_has_already_is_not_said_twice() -> None:
    row = PlanRow(ALICE, "parked", "none", "no", conditions=("no credit; `hive logs b`",), remedy="`hive logs b`")
    assert len(plan_view([row], ()).waits[0].more) == 1


def test_the_step_says_how_far_a_deploy_is_and_when_an_agent_takes_turns_again_is_told() -> None:
    conditions = ("deploying 12: drain", "waits for its turn to end, at most 9 s", "2 is unproven")
    row = PlanRow(ALICE, "draining", "drain", "12 replaces what runs", ProposalId(12), 9.0, conditions)
    assert [[piece.text for piece in pieces] for pieces in plan_view([row], ()).works[0].more] == [["2 is unproven"]]
    rests = replace(ROW, phase="over-budget", turn_until=50.0)
    spent = PlanRow(ALICE, "over-budget", "none", "as desired", remedy="wait")
    assert plan_view([spent], [rests]).waits[0].until == 50.0


async def test_the_plan_shows_the_reason_of_each_step_and_no_markup_of_it(ui: Ui) -> None:
    ui.hive.fake.rows[ALICE] = PlanRow(ALICE, "starting", "wait", f"health, 41 s left: {HOSTILE}", ProposalId(3), 2e9)
    text = (await ui.get("/plan")).text
    assert "1 agent under way" in text and 'href="/deploys/alice/3">Wait</a>' in text
    assert "&lt;script&gt;" in text and "<script>alert" not in text and "<img" not in text and "\u202e" not in text
    assert "41 s left" not in text and "1 agent with nothing to do" in text


async def test_a_plan_that_stays_the_same_sends_nothing_while_its_seconds_run(ui: Ui) -> None:
    seen = text = ""
    for left in (41, 40):
        ui.hive.fake.rows[ALICE] = PlanRow(ALICE, "starting", "wait", f"health, {left} s left: no hello", None, 2e9)
        ui.hive.fake.changes.note()
        answer = await ui.get(f"/live/plan?once=1&seen={seen}")
        seen, text = answer.headers["x-seen"], answer.text
    assert text == ""


async def test_a_thousand_agents_are_counted_and_the_page_stays_small(ui: Ui) -> None:
    ui.hive.fake.names[:] = [AgentName(f"agent-{number:04}") for number in range(1000)]
    page = await ui.get("/plan")
    assert "1,000 agents with nothing to do" in page.text and "940 more agents" in page.text
    assert len(page.content) <= 150_000


async def test_reconcile_now_is_for_all_agents_or_for_one(ui: Ui) -> None:
    assert "every agent" in (await ui.post("/plan/reconcile")).text
    assert "hive looks at alice now." in (await ui.post("/plan/reconcile", {"agent": "alice"})).text
    assert ui.hive.fake.calls == [("reconcile", None), ("reconcile", "alice")]
