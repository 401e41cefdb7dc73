"""An agent's live page in a browser: its turns as they come, a message to it, and a daemon that dies under the page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, Size, axe, overflow
from tests.support.lab import Lab


@pytest.fixture(scope="module", autouse=True)
def dora(lab: Lab) -> Iterator[None]:
    """An agent of these tests, which acknowledges each message in a turn."""
    lab.spawn("dora")
    yield
    lab.do("dora", "destroy", purge=True)


def live(page: Page) -> None:
    """Wait until the page is live."""
    expect(page.locator("#link-state")).to_have_text("Live")


def message(page: Page, text: str) -> None:
    """Wait for the turn that a message began."""
    expect(page.locator("#events .from", has_text=text)).to_have_count(1, timeout=20_000)


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_a_message_is_sent_by_keys_and_its_turn_appears(visit: Visit, size: Size) -> None:
    page = visit("/agents/dora", size=size)
    live(page)
    text = page.get_by_label("Message to dora")
    text.fill(f"look at the {size}")
    text.press("Control+Enter")
    message(page, f"look at the {size}")
    expect(text).to_have_value("")
    expect(page.locator("#events > li").last).to_contain_text("Ended after")
    assert axe(page) + overflow(page) == []


def test_what_is_no_command_says_so_and_stays_to_be_mended(visit: Visit, complaints: Complaints) -> None:
    complaints.expect("400")
    page = visit("/agents/dora")
    text = page.get_by_label("Message to dora")
    text.fill("/comapct")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("no command")
    expect(text).to_have_value("/comapct")
    page.reload()
    expect(text).to_have_value("/comapct")
    text.fill("")


def test_typing_survives_turns_that_pour_in(visit: Visit, lab: Lab) -> None:
    page = visit("/agents/dora")
    live(page)
    text = page.get_by_label("Message to dora")
    text.click()
    for number in range(6):
        lab.post("/api/messages", to="dora", body=f"pour {number}")
        text.press_sequentially("ab ")
    expect(page.get_by_text(re.compile("pour 5"))).to_have_count(1, timeout=20_000)
    expect(text).to_be_focused()
    expect(text).to_have_value("ab " * 6)


def test_a_daemon_that_dies_under_the_page_is_said_and_caught_up_with(
    visit: Visit, lab: Lab, complaints: Complaints
) -> None:
    complaints.expect(r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|Failed to fetch|network error|\[htmx\]")
    page = visit("/agents/dora")
    live(page)
    lab.post("/api/messages", to="dora", body="before it dies")
    message(page, "before it dies")
    text = page.get_by_label("Message to dora")
    text.fill("half a thought")
    lab.kill()
    expect(page.locator("#link-state")).to_contain_text("Connection lost", timeout=20_000)
    lab.start()
    lab.settle("dora")
    lab.post("/api/messages", to="dora", body="after it came back")
    live(page)
    message(page, "after it came back")
    rows = page.locator("#events > li").evaluate_all("rows => rows.map(row => row.id)")
    assert len(rows) == len(set(rows))
    expect(text).to_have_value("half a thought")
