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
