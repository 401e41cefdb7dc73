"""The ids of an agent: what was deployed, failed or denied, and how each differs from what runs."""

from __future__ import annotations

from dataclasses import replace

from api.ui.pages.agent_tabs.generations import GenerationsInput, generation
from meta.model import DeployKind
from meta.names import AgentName, ProposalId
from reconciler.views import Card
from tests.api.ui.conftest import Ui
from tests.api.ui.pages.agent.test_head import change_row
from tests.support.html_page import Page

ALICE = AgentName("alice")
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}\u202e'
PATH = "/agents/alice/generations"
CARD = Card(ProposalId(7), ALICE, DeployKind.APPLY_COMMIT, "9f3c", "9f3c" * 10, 100, "approved", "deployed")


def test_only_the_id_that_is_deployed_now_runs() -> None:
    assert generation(CARD, ProposalId(7)).word == "runs"
    assert generation(CARD, ProposalId(8)).word == "deployed"
    assert generation(replace(CARD, state="failed"), ProposalId(7)).word == "failed"


def test_an_id_names_its_tag_and_who_decided() -> None:
    shown = generation(replace(CARD, state="building", approved_by="operator uid 0", resolved_at=200), None)
    assert (shown.tag, shown.by, shown.at, shown.badge) == ("approved/7", "operator root (uid 0)", 200.0, "run")
    assert generation(replace(CARD, state="denied", decided_by="operator anna"), None).by == "operator anna"


async def test_one_can_roll_back_to_what_was_deployed_and_does_not_run(ui: Ui) -> None:
    for _ in range(3):
        ui.hive.fake.add()
    for id, state in ((1, "deployed"), (2, "failed"), (3, "deployed")):
        ui.hive.fake.move(id, state, state)
    change_row(ui, deployed=ProposalId(3))
    page = Page((await ui.get(PATH)).text)
    fields = [each.attributes["value"] for each in page.all("input") if each.attributes.get("name") == "to"]
    assert fields == ["1"]
    await ui.post("/agents/alice/rollback", {"to": "1"})
    assert ui.hive.fake.calls[-1] == ("rollback", ALICE, "operator uid 1000", 1)


async def test_an_older_id_is_compared_with_what_runs_and_that_with_the_one_before(ui: Ui) -> None:
    for id in (1, 2):
        ui.hive.fake.add()
        ui.hive.fake.move(id, "approved", "deployed")
    change_row(ui, deployed=ProposalId(2))
    assert "What a roll back to it would change" in (await ui.get(f"{PATH}/1")).text
    assert "What it changed" in (await ui.get(f"{PATH}/2")).text
    assert ui.hive.fake.calls[-2:] == [("change", ALICE, "2", "1"), ("change", ALICE, None, "2")]


async def test_a_page_has_fifty_ids_and_the_last_one_has_the_rest(ui: Ui) -> None:
    for _ in range(51):
        ui.hive.fake.add()
    first, last = (await ui.get(PATH)).text, (await ui.get(f"{PATH}?page=2")).text
    assert 'id="id-51"' in first and 'id="id-2"' in first and 'id="id-1"' not in first and "?page=2" in first
    assert 'id="id-1"' in last and 'id="id-2"' not in last and ">Newer<" in last and ">Older<" not in last
    assert GenerationsInput(agent=ALICE).page == 1


async def test_descriptions_are_text(ui: Ui) -> None:
    card = ui.hive.fake.add(description=HOSTILE, proposed_by=HOSTILE, approved_by=HOSTILE)
    ui.hive.fake.move(card.id, "approved", "deployed")
    text = (await ui.get(PATH)).text
    page = Page(text)
    assert not [*page.all("img")] and "\u202e" not in text
    assert HOSTILE.replace("\u202e", r"\u202e") in next(each.text for each in page.all("h3") if "img" in each.text)
