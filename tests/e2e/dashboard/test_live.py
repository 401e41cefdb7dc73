"""Pages that stay open while the daemon goes away: they say so, catch up, and lose nothing that was typed."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints
from tests.support.lab import Lab

LONG = 30_000.0
"""Milliseconds until an open page is connected again: it waits longer after each try."""
LOST = "ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|network error|Failed to fetch|Connection lost"


def test_a_page_says_that_the_daemon_is_away_then_catches_up_and_keeps_what_was_typed(
    visit: Visit, lab: Lab, complaints: Complaints
) -> None:
    complaints.expect(LOST)
    page = visit("/agents/alice")
    state = page.locator("#link-state")
    expect(state).to_have_text("Live")
    due = int(page.locator("#nav").get_attribute("data-due") or 0)
    box = page.get_by_role("textbox").first
    box.fill("half a sentence")
    lab.kill()
    expect(state).to_contain_text("Connection lost since", timeout=LONG)
    lab.start()
    for agent in ("alice", "bob", "manager"):
        lab.settle(agent)
    asked = lab.ask("bob", cmd="ask", question="what happened meanwhile?")["id"]
    expect(page.locator("#nav")).to_have_attribute("data-due", str(due + 1), timeout=LONG)
    expect(state).to_have_text("Live")
    expect(box).to_have_value("half a sentence")
    lab.post(f"/api/questions/{asked}/cancel")
