"""The pages of deploys as a browser gets them, and what their forms do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.errors import TransientError
from meta.names import ProposalId
from reconciler.views import Card, LogRow, PlanRow, Status
from tests.api.ui.conftest import Ui
from tests.support.fake_service import ALICE, NOW

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target='#nav'>\u202eevil"


def under_way(ui: Ui) -> Card:
    """Let a deploy of alice be built."""
    card = ui.hive.fake.add(description="importer 0.9.2")
    card = ui.hive.fake.move(card.id, "approved", "building")
    ui.hive.fake.rows[ALICE] = PlanRow(ALICE, "running", "build", f"{card.id} is not built", card.id, 2e9)
    return card


def failed(ui: Ui, note: str = "it does not build\nlast line") -> Card:
    card = ui.hive.fake.move(ui.hive.fake.add(description="importer 0.9.3").id, "failed", "failed", note)
    ui.hive.fake.shown[card.id] = replace(card, resolved_at=int(NOW()) + 10**9)
    return ui.hive.fake.shown[card.id]


async def test_a_deploy_under_way_has_its_steps_with_the_end_of_the_build_s_log(ui: Ui) -> None:
    card = under_way(ui)
    ui.hive.fake.built[card.id] = tuple(f"line {number} {HOSTILE}" for number in range(30))
    text = (await ui.get("/deploys")).text
    assert "alice 1: importer 0.9.2" in text and "1 under way" in text
    assert "line 29" in text and "line 3 " not in text
    assert "<script>alert" not in text and "<img" not in text
    assert 'id="step-alice-1-build"' in text


async def test_a_deploy_that_is_older_than_many_cards_is_under_way_all_the_same(ui: Ui) -> None:
    card, real = under_way(ui), ui.hive.fake.status

    async def cards(agent: object = None, limit: int = 50) -> list[Card]:
        return []

    async def status() -> Status:
        found = await real()
        return replace(found, agents=tuple(replace(agent, in_flight=card.id) for agent in found.agents[:1]))

    ui.hive.fake.cards, ui.hive.fake.status = cards, status  # type: ignore[method-assign]
    assert "alice 1: importer 0.9.2" in (await ui.get("/deploys")).text


async def test_a_deploy_whose_steps_cannot_be_read_hides_no_other_one(ui: Ui) -> None:
    card, other, real = under_way(ui), failed(ui), ui.hive.fake.build_log

    async def build_log(id: ProposalId, *given: object) -> object:
        if id == card.id:
            raise TransientError("its repo is busy", "wait")
        return await real(id, *given)  # type: ignore[arg-type]

    ui.hive.fake.build_log = build_log  # type: ignore[assignment, method-assign]
    text = (await ui.get("/deploys")).text
    assert "Its steps cannot be read now: its repo is busy (wait)" in text
    assert f"alice {other.id}: importer 0.9.3" in text


async def test_a_deploy_under_way_can_be_cancelled_with_a_reason(ui: Ui) -> None:
    card = under_way(ui)
    assert f'id="cancel-alice-{card.id}"' in (await ui.get(f"/deploys/alice/{card.id}")).text
    assert "is cancelled" in (await ui.post(f"/deploys/alice/{card.id}/cancel", {"reason": "not now"})).text
    assert ui.hive.fake.calls[-1] == ("cancel", 1, "operator uid 1000", "not now")


async def test_a_failure_has_its_reason_what_was_lost_and_ways_on(ui: Ui) -> None:
    failed(ui, HOSTILE)
    text = (await ui.get("/deploys")).text
    assert "Nothing was lost. What ran before still runs." in text and "Send this to manager" in text
    assert "<script>alert" not in text and "<img" not in text and "<hx-partial" not in text and "\u202e" not in text


async def test_an_old_failure_keeps_its_steps_however_often_its_agent_started_since(
    ui: Ui, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, events = failed(ui), ui.hive.fake.events
    at = float(card.requested_at)
    monkeypatch.setattr(events, "_clock", lambda: at)
    ui.hive.fake.shown[card.id] = replace(card, resolved_at=card.requested_at + 100)
    for kind, data in (("deploy_started", {"id": card.id}), ("agent_started", {"deploy": card.id})):
        await events.append(kind, ALICE, data)
    at += 86_400
    for number in range(201):
        await events.append("agent_started", ALICE, {"deploy": None, "generation": str(number)})
    assert f'<li class="step bad" id="step-alice-{card.id}-gate">' in (await ui.get(f"/deploys/alice/{card.id}")).text


async def test_a_failed_commit_is_proposed_again_and_decided_on_the_first_page(ui: Ui) -> None:
    card = failed(ui)
    answer = await ui.post(f"/deploys/alice/{card.id}/retry")
    assert answer.headers["hx-redirect"] == "/"
    assert ui.hive.fake.calls[-1] == ("retry", 1, "operator uid 1000")


async def test_the_reason_of_a_failure_is_sent_once_however_often_it_is_asked_for(ui: Ui) -> None:
    card = failed(ui)
    for _ in range(2):
        answer = await ui.post(f"/deploys/alice/{card.id}/tell", {"to": "manager"})
        assert "has the reason as a message" in answer.text
    inbox = await ui.hive.fake.broker.recent("manager", 10)
    assert [message.body for message in inbox] == [
        "Deploy 1 of alice (importer 0.9.3) failed:\n\nit does not build\nlast line"
    ]


async def test_nobody_is_told_of_a_failure_of_what_did_not_fail(ui: Ui) -> None:
    card = under_way(ui)
    assert (await ui.post(f"/deploys/alice/{card.id}/tell", {"to": "manager"})).status_code == 409


async def test_a_page_of_a_deploy_that_waits_leads_to_the_decision(ui: Ui) -> None:
    card = ui.hive.fake.add(description=HOSTILE)
    text = (await ui.get(f"/deploys/alice/{card.id}")).text
    assert "It waits for a decision." in text and "Decide on it" in text
    assert "<script>alert" not in text and "{{7*7}}" in text


async def test_what_a_deploy_changes_is_settings_in_words_and_its_diff(ui: Ui) -> None:
    card = under_way(ui)
    text = (await ui.get(f"/deploys/alice/{card.id}/changes")).text
    assert "<dt>Model</dt><dd><del>1</del> → <ins>2</ins>" in text


async def test_the_log_has_fifty_lines_a_page_and_each_leads_to_its_changes(ui: Ui) -> None:
    async def log(limit: int = 50) -> list[LogRow]:
        row = LogRow("3" * 40, 5, "deploy", "alice", ProposalId(1), "1" * 40, "a" * 20, HOSTILE, HOSTILE)
        return [replace(row, commit=f"{number:012}" + "0" * 28) for number in range(60)][:limit]

    ui.hive.fake.log = log  # type: ignore[method-assign]
    first, second = (await ui.get("/deploys")).text, (await ui.get("/deploys?page=2")).text
    assert (first.count('<li class="item"'), second.count('<li class="item"')) == (50, 10)
    assert 'hx-get="/deploys/alice/1/changes"' in first and 'href="/deploys?page=2">Older' in first
    assert "<script>alert" not in first and "<img" not in first and "\u202e" not in first


async def test_a_deploy_that_does_not_exist_is_not_found(ui: Ui) -> None:
    assert (await ui.get("/deploys/alice/77")).status_code == 404
