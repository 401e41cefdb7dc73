"""The head of an agent's pages: its state, what today took beside the budget, the tabs, and what one does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from api.ui.pages.agent.head import context_of, head_of, spent_of
from api.ui.pages.agent.state import badge_of, doing
from api.ui.pages.agent.ways import why
from meta.names import AgentName, ProposalId, Sha
from meta.wire.common import LooseEnd, QuestionEnd, ReminderEnd
from reconciler.network.words import wanted
from reconciler.plan.phases import PHASES
from reconciler.views import AgentStatus, BudgetUse, Status
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page

ALICE = AgentName("alice")
ROW = AgentStatus(
    ALICE, "agent", "running", 100.0, "idle", "running", "a" * 20, Sha("1" * 40), ProposalId(23), None, (), 7, 0, 2
)


def change_row(ui: Ui, **changes: object) -> None:
    """Let the status have these values in alice's row."""
    whole: Callable[[], object] = ui.hive.fake.status

    async def status() -> Status:
        answer = await whole()  # type: ignore[misc]
        assert isinstance(answer, Status)
        rows = (replace(row, **changes) if row.agent == ALICE else row for row in answer.agents)  # type: ignore[arg-type]
        return replace(answer, agents=tuple(rows))

    ui.hive.fake.status = status  # type: ignore[method-assign]


def test_each_phase_has_a_badge_and_only_what_is_broken_is_red() -> None:
    kinds = {phase: badge_of(replace(ROW, phase=phase)).kind for phase in PHASES}
    red = {phase for phase, kind in kinds.items() if kind == "bad"}
    assert red == {"failed", "rollback-failed", "disagrees", "damaged", "over-disk"}
    assert {phase for phase, kind in kinds.items() if kind == "off"} == {"stopped", "paused", "absent"}
    assert kinds["running"] == "ok" and kinds["draining"] == "run" and kinds["needs-login"] == "warn"


def test_an_agent_in_a_turn_is_under_way_since_the_turn_began() -> None:
    row = replace(ROW, turn="thinking", turn_since=150.0, state_since=151.0)
    assert badge_of(row).kind == "run"
    assert doing(row) == ("in a turn", 150.0)
    assert doing(replace(row, turn_number=41)) == ("turn 41", 150.0)
    assert doing(replace(row, turn="compacting", turn_number=41)) == ("compacting", 151.0)
    assert doing(replace(ROW, state_since=160.0)) == ("idle", 160.0)


@pytest.mark.parametrize(
    ("today", "budget", "words", "kind"),
    [
        (BudgetUse(1, 10, 3.12), BudgetUse(dollars=10.0), "$3.12 of $10", ""),
        (BudgetUse(1, 10, 9.0), BudgetUse(dollars=10.0), "$9.00 of $10", "warn"),
        (BudgetUse(9, 10, 1.0), BudgetUse(turns=9, dollars=10.0), "9 of 9 turns", "warn"),
        (BudgetUse(9, 10, 1.0), BudgetUse(), "$1.00", ""),
        (BudgetUse(), BudgetUse(), "$0.00", ""),
    ],
)
def test_the_limit_that_is_nearest_stands_beside_what_today_took(
    today: BudgetUse, budget: BudgetUse, words: str, kind: str
) -> None:
    spent = spent_of(today, budget)
    assert (spent.words, spent.kind) == (words, kind)


@pytest.mark.parametrize(
    ("tokens", "window", "words", "whole"),
    [(124_000, 200_000, "62 %", 200_000), (2**53, 1, "100 %", 1), (124_000, None, "124 k tokens", 0)],
)
def test_the_context_is_in_percent_where_its_window_is_known_and_else_in_tokens(
    tokens: int, window: int | None, words: str, whole: int
) -> None:
    context = context_of(replace(ROW, context_tokens=tokens, context_window=window))
    assert context is not None and (context.words, context.whole) == (words, whole)


async def test_nothing_is_said_of_a_context_that_is_not_known(ui: Ui) -> None:
    change_row(ui, context_window=200_000)
    assert "<dt>Context</dt>" not in (await ui.get("/agents/alice")).text
    change_row(ui, context_tokens=124_000)
    ui.hive.fake.changes.note()
    page = (await ui.get("/agents/alice")).text
    assert "124 k of 200 k tokens after its last turn" in page and 'aria-label="62 % of the context is used"' in page


def test_tabs_count_what_waits_there() -> None:
    ends: list[LooseEnd] = [
        QuestionEnd(id=1, asker="alice", question="q", age_seconds=1),
        QuestionEnd(id=2, asker="bob", target="alice", question="q", age_seconds=1),
        ReminderEnd(id=3, owner="alice", message="m", due_at=1, age_seconds=1),
    ]
    tabs = {tab.words: tab for tab in head_of(ROW, None, ends, "inbox").tabs}
    assert {words: tab.count for words, tab in tabs.items() if tab.count} == {"Inbox": 2, "Questions": 1}
    assert [words for words, tab in tabs.items() if tab.here] == ["Inbox"]
    assert tabs["Logs"].href == "/agents/alice/logs"


async def test_a_cancel_asks_first_and_stands_there_only_in_a_turn(ui: Ui) -> None:
    assert 'command="show-modal" commandfor="cancel"' not in (await ui.get("/agents/alice")).text
    change_row(ui, turn="thinking", turn_since=5.0)
    ui.hive.fake.changes.note()
    assert 'commandfor="cancel"' in (await ui.get("/agents/alice")).text


async def test_an_agent_that_is_stopped_can_be_started_and_one_that_is_paused_resumed(ui: Ui) -> None:
    change_row(ui, desired="stopped", phase="stopped")
    assert 'action="/agents/alice/start"' in (await ui.get("/agents/alice")).text
    change_row(ui, desired="running", phase="paused", paused=True)
    ui.hive.fake.changes.note()
    page = (await ui.get("/agents/alice")).text
    assert 'action="/agents/alice/turn/resume"' in page and 'action="/agents/alice/turn/pause"' not in page


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "compact", "new-session"])
async def test_what_is_done_about_turns_is_done_as_the_operator(ui: Ui, verb: str) -> None:
    answer = await ui.post(f"/agents/alice/turn/{verb}")
    assert answer.status_code == 200 and "alice" in answer.text
    assert ui.hive.fake.calls[-1] == (f"turn {verb}", ALICE, "operator uid 1000")


async def test_an_agent_that_hive_gave_up_says_why_and_can_be_restarted(ui: Ui) -> None:
    change_row(ui, phase="failed", reason="exited five times", remedy="`hive logs alice`", conditions=("<b>memory",))
    page = (await ui.get("/agents/alice")).text
    trouble = page[page.index('id="trouble"') :]
    assert "Exited five times" in trouble and 'href="/agents/alice/logs"' in trouble and "&lt;b&gt;memory" in trouble
    assert '<div class="wide"><form method="post" action="/agents/alice/restart"' in page


async def test_a_host_that_was_refused_can_be_allowed_where_the_page_says_so(ui: Ui) -> None:
    condition = wanted("alice", "static.crates.io", 443, 12)
    change_row(ui, conditions=(condition, "wanted other.example:443, once: `hive network allow alice other`"))
    page = (await ui.get("/agents/alice")).text
    trouble = page[page.index('id="trouble"') : page.index('id="transcript"')]
    assert "It wanted <b>static.crates.io</b>, and may not reach it." in trouble
    assert 'action="/agents/alice/network/allow"' in trouble and 'value="static.crates.io:443"' in trouble
    assert trouble.count("<code>hive network allow") == 1


async def test_the_model_that_an_agent_claims_is_text(ui: Ui) -> None:
    change_row(ui, model='"><img src=x onerror=alert(1)>{{7*7}}')
    page = (await ui.get("/agents/alice")).text
    assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;{{7*7}}" in page


async def test_an_agent_that_does_not_exist_is_not_found(ui: Ui) -> None:
    answer = await ui.get("/agents/nobody")
    assert answer.status_code == 404 and "there is no agent nobody" in answer.text


@pytest.mark.parametrize(
    ("phase", "reason", "said"),
    [
        ("needs-login", "as desired", "Its coding agent has no login: messages wait until somebody logs it in"),
        ("over-budget", "as desired", "Its budget is used up"),
        ("failed", "exited 3 times; `hive x` helps", "Exited 3 times. hive does not start it again"),
    ],
)
def test_an_agent_that_does_not_work_says_why_and_not_that_it_is_as_desired(phase: str, reason: str, said: str) -> None:
    assert why(phase, reason) == said


async def test_a_failed_agent_s_reason_stands_once_with_a_button_for_what_helps(ui: Ui) -> None:
    reason, remedy = "ended by itself 3 times in a row; `hive restart alice` tries again", "`hive logs alice`"
    change_row(ui, phase="failed", reason=reason, remedy=remedy, conditions=(f"failed: {reason}",))
    page = Page((await ui.get("/agents/alice")).text)
    (trouble,) = (one for one in page.all("div") if one.attributes.get("id") == "trouble")
    words = " ".join(trouble.text.split())
    assert words == "Ended by itself 3 times in a row. hive does not start it again. RestartLogs"


async def test_a_model_that_is_not_known_is_a_dash_and_not_the_runtime(ui: Ui) -> None:
    change_row(ui, model="", runtime="codex")
    assert "<dt>Model</dt><dd>\N{EN DASH}</dd>" in (await ui.get("/agents/alice")).text
