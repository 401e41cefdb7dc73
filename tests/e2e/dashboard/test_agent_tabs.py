"""The tabs of an agent in a browser, over a real hive: an edit that is wrong, then right, and the way back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import axe, overflow
from tests.support.lab import Lab


def test_a_wrong_edit_keeps_what_was_typed_and_the_right_one_waits_for_a_decision(lab: Lab, visit: Visit) -> None:
    page = visit("/agents/alice/settings", size="phone")
    expect(page.locator("#nix")).to_contain_text("{")
    page.locator("#edit-fold summary").click()
    page.locator("#edit-text").fill('label = "open')
    page.get_by_role("button", name="Propose").click()
    expect(page.locator("#edit [role=alert]")).to_contain_text("agent.toml")
    expect(page.locator("#edit-text")).to_have_value('label = "open')
    assert axe(page) == [] and overflow(page) == []
    page.locator("#edit-text").fill('label = "edited in a browser"\n')
    page.locator("#edit-why").fill("a name")
    page.get_by_role("button", name="Propose").click()
    page.wait_for_url("**/?row=proposal*")
    (card,) = lab.get("/api/proposals", agent="alice")
    assert (card["description"], card["source"]) == ("a name", "edit#agent.toml")
    lab.post(f"/api/proposals/{card['id']}/deny", reason="it was a test")


def test_a_generation_that_is_opened_shows_what_it_changed(visit: Visit) -> None:
    page = visit("/agents/alice/generations")
    page.locator("#open-0 > summary").click()
    expect(page.locator("#one-0")).not_to_contain_text("How it differs")
    expect(page.locator("#open-0")).to_contain_text("deployed/0")
    assert axe(page) == []


def test_a_chart_shows_the_figures_of_the_last_day_until_one_points_at_another(visit: Visit) -> None:
    spec = {"title": "Tokens", "unit": "tokens", "at": [1_762_560_000, 1_762_646_400], "values": [7_000.0, 83_000.0]}
    page = visit("/agents/alice/usage")
    page.evaluate(
        """spec => {
            const place = document.createElement("div");
            place.id = "given";
            place.dataset.plot = JSON.stringify(spec);
            document.querySelector("main").append(place);
            document.dispatchEvent(new Event("hive:shown"));
        }""",
        spec,
    )
    legend = page.locator("#given .u-legend")
    expect(legend).to_contain_text("9 Nov")
    expect(legend).to_contain_text("83 k")
    page.locator("#given .u-over").hover(position={"x": 20, "y": 20})
    expect(legend).to_contain_text("7.0 k")


FAR = """() => document.getElementById('network').insertAdjacentHTML('beforeend', `<table class="stack"><tbody><tr>
  <th>models.ofaverylongnameoftheirs.example:40667</th>
  <td class="num" data-l="Connections">2 <span class="tag">1 open</span></td>
  </tr></tbody></table>`)"""


def test_a_long_host_keeps_clear_of_what_stands_beside_it_on_a_phone(visit: Visit) -> None:
    page = visit("/agents/alice/network", size="phone")
    page.evaluate(FAR)
    assert overflow(page) == []


def test_the_tab_that_is_open_is_in_sight_on_a_phone(visit: Visit) -> None:
    page = visit("/agents/alice/usage", size="phone")
    expect(page.locator(".tabs .here")).to_be_in_viewport(ratio=1)
