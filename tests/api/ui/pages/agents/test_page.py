"""The page Agents as a browser gets it, its dialogs and what its forms do."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from meta.model import DeployKind
from meta.names import AgentName, ProposalId
from reconciler.plan.rollout import Rollout
from reconciler.views import AgentOutcome, AgentStatus, Remains, Status
from tests.api.ui.conftest import Ui
from tests.support.fake_service import ALICE

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target='#nav'>\u202eevil"


def shows(ui: Ui, **changes: object) -> None:
    """Let the status have one agent, alice, that differs by `changes`; `status_` changes are the status's own."""
    own = {key.removeprefix("status_"): value for key, value in changes.items() if key.startswith("status_")}
    of_agent = {key: value for key, value in changes.items() if not key.startswith("status_")}
    real = ui.hive.fake.status

    async def status() -> Status:
        found = await real()
        row: AgentStatus = replace(found.agents[0], **of_agent)  # type: ignore[arg-type]
        return replace(found, agents=(row,), **own)  # type: ignore[arg-type]

    ui.hive.fake.status = status  # type: ignore[method-assign]


async def test_what_agents_say_of_themselves_is_no_markup(ui: Ui) -> None:
    shows(ui, phase="parked", turn_reason=HOSTILE, model=HOSTILE, runtime=HOSTILE, built_with=HOSTILE)
    page = await ui.get("/agents")
    assert page.status_code == 200
    assert "<script>alert" not in page.text and "<img" not in page.text and "{{7*7}}" in page.text
    assert "<hx-partial" not in page.text and "\u202e" not in page.text


async def test_a_search_that_finds_nothing_says_so_without_markup(ui: Ui) -> None:
    page = await ui.get("/agents?q=%3Cscript%3E")
    assert "None has “&lt;script&gt;” in its name" in page.text


async def test_an_agent_that_needs_a_login_has_that_beside_its_menu(ui: Ui) -> None:
    shows(ui, phase="needs-login")
    assert 'href="/agents/alice">Log in<span class="sr"> alice</span>' in (await ui.get("/agents")).text


async def test_agents_of_an_older_hive_are_counted_and_can_be_updated_at_once(ui: Ui) -> None:
    shows(ui, built_with="9f00d11")
    page = await ui.get("/agents")
    assert "1 agent runs an older hive." in page.text and "old hive" in page.text
    answer = await ui.post("/agents-all/update", {"only_stale": "1"})
    assert "wave by wave" in answer.text
    assert ui.hive.fake.calls[-1] == ("rebuild_all", "operator uid 1000", False, True)


async def test_a_rebuild_of_all_that_stopped_says_at_whom_and_who_is_left(ui: Ui) -> None:
    failed = Rollout(
        "r", "operator", 1, "x", (AgentName("carol"),), done=(ALICE,), failed=AgentName("bob"), reason="no"
    )
    shows(ui, status_rollout=failed)
    text = (await ui.get("/agents")).text
    assert "stopped at bob." in text and "left as they were: carol" in text


async def test_the_dialog_of_a_rollback_lists_what_was_deployed_but_not_what_runs(ui: Ui) -> None:
    for number, state in ((1, "deployed"), (2, "failed"), (3, "deployed"), (4, "deployed")):
        card = ui.hive.fake.add(description=f"change {number} {HOSTILE}")
        ui.hive.fake.move(card.id, "approved", state)
    shows(ui, deployed=4)
    asked = await ui.get("/agents/alice/rollback")
    assert "change 1" in asked.text and "change 3" in asked.text
    assert "change 2" not in asked.text and "change 4" not in asked.text
    assert "<script>alert" not in asked.text
    answer = await ui.post("/agents/alice/rollback", {"to": "1"})
    assert answer.headers["hx-redirect"] == "/deploys/alice/5"
    assert ui.hive.fake.calls[-1] == ("rollback", "alice", "operator uid 1000", 1)


async def test_a_purge_wants_the_name_typed_and_the_server_checks_that(ui: Ui) -> None:
    refused = await ui.post("/agents/alice/destroy", {"purge": "1", "typed": "alicia"})
    assert refused.status_code == 400 and "is not alice" in refused.text
    assert ui.hive.fake.calls == []
    await ui.post("/agents/alice/destroy", {"purge": "1", "typed": " alice "})
    assert ui.hive.fake.calls == [("destroy", "alice", "operator uid 1000", True)]


async def test_a_destroyed_agent_keeps_what_it_had_unless_it_is_purged(ui: Ui) -> None:
    assert "Destroy alice?" in (await ui.get("/agents/alice/destroy")).text
    answer = await ui.post("/agents/alice/destroy")
    assert "kept until you purge it" in answer.text
    assert ui.hive.fake.calls[-1] == ("destroy", "alice", "operator uid 1000", False)


@pytest.mark.parametrize("verb", ["start", "restart", "rebuild"])
async def test_an_agent_can_be_moved_by_one_button(ui: Ui, verb: str) -> None:
    assert (await ui.post(f"/agents/alice/{verb}")).status_code == 200
    assert ui.hive.fake.calls[-1][:2] == (verb, "alice")


async def test_a_disagreement_is_ended_for_one_side(ui: Ui) -> None:
    shows(ui, phase="disagrees")
    assert "Keep what runs" in (await ui.get("/agents")).text
    assert "goes back to what meta pins" in (await ui.post("/agents/alice/adopt", {"side": "meta"})).text
    assert ui.hive.fake.calls[-1] == ("adopt", "alice", "operator uid 1000", False)


async def test_stopping_all_names_those_that_stop_and_starting_all_what_failed(ui: Ui) -> None:
    assert "alice stops." in (await ui.post("/agents-all/stop", {"now": "1"})).text
    assert "manager: it is damaged." in (await ui.post("/agents-all/start")).text


async def test_a_notice_about_many_agents_names_a_few(ui: Ui) -> None:
    async def all_of_them(by: str, now: bool = False) -> list[AgentOutcome]:
        return [AgentOutcome(AgentName(f"a{number}"), "stop") for number in range(9)]

    ui.hive.fake.stop_all = all_of_them  # type: ignore[method-assign]
    assert "a0, a1, a2, a3, a4 and 4 more stop." in (await ui.post("/agents-all/stop")).text


async def test_a_new_agent_leads_to_the_page_of_its_first_deploy(ui: Ui) -> None:
    assert "Make the agent" in (await ui.get("/new-agent")).text
    answer = await ui.post("/new-agent", {"agent": "bob", "runtime": "claude", "model": "opus"})
    assert answer.headers["hx-redirect"] == "/deploys/bob/1"
    assert ui.hive.fake.calls[-1] == ("spawn", "bob", "operator uid 1000", "claude", "opus")
    assert ui.hive.fake.shown[1].kind is DeployKind.SPAWN


async def test_a_thousand_agents_fit_into_a_first_page(ui: Ui) -> None:
    ui.hive.fake.names[:] = [AgentName(f"agent-{number:04}") for number in range(1000)]
    page = await ui.get("/agents")
    assert "Page 1 of 20" in page.text
    assert len(page.content) <= 150_000


async def test_a_destroyed_agent_says_what_it_keeps_and_comes_back_or_is_purged(ui: Ui) -> None:
    spike = AgentName("spike")
    ui.hive.fake.remains = [Remains(spike, 1.6e9, ProposalId(5), 1_800_000_000, 214, 1)]
    text = (await ui.get("/agents")).text
    assert "Home, 214 messages, 1 generation" in text and "1.8 GB" in text and "deployed/5" in text
    dialog = (await ui.get("/agents/spike/purge")).text
    assert "Purge spike?" in dialog and 'name="purge" value="1"' in dialog
    answer = await ui.post("/agents/spike/bring-back")
    assert answer.headers["hx-redirect"] == "/deploys/spike/1"
    assert ui.hive.fake.calls[-1] == ("spawn", "spike", "operator uid 1000")


async def test_the_address_of_a_destroyed_agent_says_what_became_of_it_and_where_that_is(ui: Ui) -> None:
    ui.hive.fake.remains = [Remains(AgentName("spike"), time.time() - 370, ProposalId(5), 1_800_000_000, 214, 1)]
    for path in ("/agents/spike", "/agents/spike/usage"):
        answer = await ui.get(path)
        assert answer.status_code == 404
        assert "spike was destroyed 6 min ago" in answer.text and 'href="/agents"' in answer.text
    assert "there is no agent nobody" in (await ui.get("/agents/nobody")).text


async def test_what_was_purged_has_no_dialog_any_more(ui: Ui) -> None:
    assert (await ui.get("/agents/gone/purge")).status_code == 404
