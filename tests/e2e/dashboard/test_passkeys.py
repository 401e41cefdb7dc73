"""Passkeys in Chromium with its virtual authenticator, on a hive whose approvals need a touch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.support.browser import LEAST, Complaints, axe, overflow, shape
from tests.support.lab import Lab, fresh_lab
from tests.support.site import Site, dashboard_settings

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def strict() -> Iterator[Site]:
    """A dashboard where an approval needs a touch."""
    with fresh_lab("touch", dashboard_settings() | {"HIVE_DASHBOARD_APPROVE_BY_PASSKEY": "1"}, backend="fake") as lab:
        lab.spawn("alice")
        site = Site(lab)
        site.ready()
        yield site


@pytest.fixture
def open_page(browser: Browser, strict: Site, complaints: Complaints) -> Iterator[Callable[[], Page]]:
    """Open a page of the strict dashboard in a browser of its own that is not logged in."""
    contexts = []

    def opened() -> Page:
        context = browser.new_context(base_url=strict.origin, **shape("desk", "light"))
        context.set_default_timeout(LEAST)
        complaints.watch(context)
        contexts.append(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


def with_authenticator(page: Page, **options: bool) -> CDPSession:
    """Give a page an authenticator. It belongs to this page only."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": {**AUTHENTICATOR, **options}})
    return session


def add(page: Page, name: str) -> None:
    """Add a passkey in the settings."""
    page.goto("/settings")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Add a passkey").click()


def how(lab: Lab, id: int) -> str:
    with ThreadPoolExecutor(1) as other:  # in this thread playwright has a loop running
        said = json.loads(other.submit(lab.hive, "audit", "approvals", "--json").result().out)
    assert said["faults"] == said["warnings"] == 0
    return next(str(row["consent"]) for row in said["approvals"] if (row["agent"], row["id"]) == ("alice", id))


def test_a_passkey_is_added_logs_in_without_a_link_and_approves_by_a_touch(
    strict: Site, open_page: Callable[[], Page], complaints: Complaints
) -> None:
    complaints.expect("/needs-you/row")  # the body of a row that was decided while it is fetched
    page = open_page()
    page.goto(strict.link())
    expect(page.get_by_role("heading", level=1)).to_have_text("Needs you")
    with_authenticator(page)
    add(page, "my laptop")
    expect(page.get_by_role("rowheader", name="my laptop")).to_be_visible()
    expect(page.get_by_text("By the touch of a passkey.")).to_be_visible()
    assert axe(page) == []
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in to orchard")
    assert axe(page) == []
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Needs you")
    id = strict.lab.propose("label = 'touched'\n")
    page.goto(f"/#approval-alice-{id}")
    page.get_by_role("button", name="Approve").first.click()
    expect(page.locator("#notice")).to_contain_text("is approved")
    strict.lab.settle("alice")
    assert how(strict.lab, id) == "passkey"


def test_a_finger_that_is_not_known_adds_nothing_and_the_page_says_so(
    strict: Site, open_page: Callable[[], Page]
) -> None:
    page = open_page()
    page.goto(strict.link())
    with_authenticator(page, isUserVerified=False)
    before = len(strict.lab.get("/api/dashboard/passkeys")["passkeys"])
    add(page, "not mine")
    expect(page.get_by_role("alert")).to_contain_text("No touch came")
    assert len(strict.lab.get("/api/dashboard/passkeys")["passkeys"]) == before


def test_the_settings_fit_a_phone(strict: Site, open_page: Callable[[], Page]) -> None:
    page = open_page()
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(strict.link())
    page.goto("/settings")
    assert overflow(page) == []
    assert axe(page) == []


def test_an_approval_whose_touch_does_not_come_approves_nothing_and_says_so(
    strict: Site, open_page: Callable[[], Page]
) -> None:
    page = open_page()
    page.goto(strict.link())
    authenticator = with_authenticator(page)
    add(page, "for a moment")
    expect(page.get_by_role("rowheader", name="for a moment")).to_be_visible()
    authenticator.send("WebAuthn.disable")
    with_authenticator(page, isUserVerified=False)
    id = strict.lab.propose("label = 'untouched'\n")
    page.goto("/")
    page.get_by_role("button", name="Approve").first.click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    assert strict.lab.card(id)["state"] == "proposal"


def test_a_passkey_is_removed_after_a_question(strict: Site, open_page: Callable[[], Page]) -> None:
    page = open_page()
    page.goto(strict.link())
    with_authenticator(page)
    add(page, "an old phone")
    page.get_by_role("button", name="Remove… an old phone").click()
    dialog = page.get_by_role("dialog", name="Remove the passkey an old phone?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    assert axe(page) == []
    dialog.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#notice")).to_contain_text("an old phone is removed")
    expect(page.get_by_role("rowheader", name="an old phone")).to_have_count(0)
