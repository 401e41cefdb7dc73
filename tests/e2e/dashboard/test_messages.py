"""The page Messages in a browser: what comes in moves nothing that somebody reads or writes."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.lab import Lab


def test_messages_that_come_in_are_counted_and_move_nothing_that_is_read_or_typed(visit: Visit, lab: Lab) -> None:
    for number in range(25):
        lab.post("/api/messages", to="alice", body=f"old {number}")
    page = visit("/messages")
    expect(page.locator("#link-state")).to_have_text("Live")
    page.get_by_text("Write a message").click()
    page.get_by_label("Message", exact=True).fill("half a sentence")
    row = page.locator("#messages .item", has_text="old 3").last
    row.locator("summary").click()
    row.scroll_into_view_if_needed()
    before = row.bounding_box()
    lab.post("/api/messages", to="alice", body="new")
    pill = page.locator("#newer")
    expect(pill).to_have_text("1 new")
    after = row.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 2
    expect(row.locator("details")).to_have_attribute("open", "")
    expect(page.get_by_label("Message", exact=True)).to_have_value("half a sentence")
    pill.click()
    expect(pill).to_be_hidden()
    expect(page.locator("#messages .item").first).to_contain_text("new")
