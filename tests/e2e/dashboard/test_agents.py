"""Agents and their deploys in a browser: a deploy with the page open, a failure, a way back, an end and a return."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, axe, overflow
from tests.support.lab import Lab


@pytest.fixture(scope="module")
def carol(lab: Lab) -> Iterator[str]:
    """An agent of these tests, with a second deploy."""
    lab.spawn("carol")
    lab.deploy('label = "first"\n', "carol")
    yield "carol"
    lab.do("carol", "destroy", purge=True)
    lab.settle("carol")


def in_menu(page: Page, agent: str, entry: str) -> None:
    """Choose an entry of an agent's menu."""
    page.get_by_label(f"More for {agent}").click()
    page.locator(f"#menu-{agent}").get_by_role("button", name=entry).click()


def test_a_deploy_goes_through_its_steps_on_an_open_page_and_then_into_the_log(
    visit: Visit, lab: Lab, carol: str
) -> None:
    id = lab.propose('label = "second"\n', carol)
    page = visit(f"/deploys/{carol}/{id}")
    expect(page.get_by_text("It waits for a decision.")).to_be_visible()
    lab.approve(id)
    expect(page.locator("#deploy .badge")).to_contain_text("deployed", timeout=20_000)
    expect(page.locator(".step.run, .step.todo, .step.bad")).to_have_count(0)
    expect(page.locator(".changes .ln.a ins")).to_have_text("second")
    assert axe(page) == []
    page.goto("/deploys")
    line = page.locator("#log li", has_text=f"{carol} {id}")
    line.locator("summary").click()
    expect(line.locator(".ln.a ins")).to_have_text("second")
    assert axe(page) == []


def test_a_rollback_is_chosen_from_what_was_deployed_and_leads_to_its_steps(visit: Visit, lab: Lab, carol: str) -> None:
    page = visit("/agents")
    in_menu(page, carol, "Roll back…")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Roll carol back?")
    assert axe(page) == []
    dialog.get_by_role("radio").last.check()
    dialog.get_by_role("button", name="Roll back").click()
    page.wait_for_url(f"**/deploys/{carol}/*")
    expect(page.get_by_role("heading", level=1)).to_contain_text("rollback to deployed/0")
    lab.settle(carol)
    expect(page.locator("#deploy .badge")).to_contain_text("deployed", timeout=20_000)


FILL = """row => {
    row.cells[0].append(" manager");
    row.querySelector(".badge").textContent = "over-budget";
    row.querySelector(".what").textContent = "One more look at each place where it is read, ".repeat(4);
    row.cells[3].textContent = "claude-sonnet-4-5";
    row.cells[4].innerHTML = '<code>1b2c3d4e</code><small><span class="tag">old hive</span></small>';
    row.cells[6].innerHTML = '<span>$1,234 <small class="nowrap">100 % of tokens</small></span>';
    row.cells[7].textContent = "235 k";
}"""


def test_the_menu_of_a_row_is_in_the_window_whatever_the_row_says(visit: Visit, carol: str) -> None:
    page = visit("/agents")
    for width in (1280, 1100):
        page.set_viewport_size({"width": width, "height": 800})
        for row in page.locator(".fleet tbody tr").all():
            row.evaluate(FILL)
        assert (width, overflow(page)) == (width, [])
        expect(page.get_by_label(f"More for {carol}")).to_be_in_viewport(ratio=1)


def test_a_failure_says_why_and_is_proposed_again_on_a_phone(visit: Visit, lab: Lab, carol: str) -> None:
    id = lab.propose("label = [1]\n", carol)
    lab.approve(id, unseen=True)
    lab.settle(carol)
    page = visit("/deploys", size="phone")
    failure = page.locator(f"#deploy-{carol}-{id}")
    expect(failure.locator(".fault")).to_contain_text("What ran before still runs")
    assert overflow(page) + axe(page) == []
    failure.get_by_role("button", name="Propose it again").click()
    page.wait_for_url("**/")
    (again,) = [card for card in lab.get("/api/proposals") if card["agent"] == carol]
    lab.post(f"/api/proposals/{again['id']}/deny", reason="done")


def test_a_destroyed_agent_becomes_a_tombstone_and_comes_back(visit: Visit, lab: Lab, carol: str) -> None:
    page = visit("/agents")
    in_menu(page, carol, "Destroy…")
    page.get_by_role("dialog").get_by_role("button", name="Destroy").click()
    tomb = page.locator(f"#tomb-{carol}")
    expect(tomb).to_contain_text("history up to", timeout=20_000)
    expect(page.locator(f"#agent-{carol}")).to_have_count(0)
    tomb.get_by_role("button", name="Purge…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type carol to confirm").fill("karol")
    assert axe(page) == []
    dialog.get_by_role("button", name="Keep it").click()
    tomb.get_by_role("button", name="Bring back").click()
    page.wait_for_url(f"**/deploys/{carol}/*")
    lab.settle(carol)
    assert lab.agent(carol)["phase"] == "running"


def test_a_purge_is_refused_in_its_dialog_and_done_with_the_name(
    visit: Visit, lab: Lab, complaints: Complaints
) -> None:
    lab.spawn("dora")
    lab.do("dora", "destroy")
    complaints.expect("400")
    page = visit("/agents")
    tomb = page.locator("#tomb-dora")
    tomb.get_by_role("button", name="Purge…").click(timeout=20_000)
    dialog = page.get_by_role("dialog")
    typed = dialog.get_by_label("Type dora to confirm")
    typed.fill("nora")
    dialog.get_by_role("button", name="Purge for ever").click()
    expect(page.get_by_text("the name that you typed is not dora")).to_have_count(1)
    typed.fill("dora")
    dialog.get_by_role("button", name="Purge for ever").click()
    expect(page.locator("#notice")).to_have_text("dora is being purged.")
    expect(tomb).to_have_count(0, timeout=20_000)
    lab.until(lambda: not any(row["agent"] == "dora" for row in lab.get("/api/destroyed")) or None)
