"""Every page in a browser: nothing is refused by its policy, axe finds nothing, and it fits the window."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, Scheme, Size, axe, overflow
from tests.support.lab import Lab
from tests.support.site import Site, page_paths

PATHS = page_paths("alice", ("alice", 0))


BIG = "() => { document.documentElement.style.fontSize = '200%' }"
"""Makes text twice as big, as a phone does. On a desk a browser counts such a window as a narrow one."""


NARROW: ViewportSize = {"width": 780, "height": 800}
"""About the narrowest window that is no phone's."""


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_every_page_is_accessible_and_fits_a_phone_with_big_text_too(visit: Visit, size: Size, scheme: Scheme) -> None:
    page, wrong = visit(size=size, scheme=scheme), {}
    window = page.viewport_size
    assert window is not None
    for name, path in PATHS.items():
        page.set_viewport_size(window)
        page.goto(path)
        if found := overflow(page) + axe(page):
            wrong[name] = found
        if size == "phone":
            page.evaluate(BIG)
            if found := overflow(page):
                wrong[f"{name}, big"] = found
        else:
            page.set_viewport_size(NARROW)
            if found := overflow(page):
                wrong[f"{name}, narrow"] = found
    assert not wrong


def test_what_was_done_is_said_without_moving_the_page_until_the_next_click(visit: Visit) -> None:
    page = visit("/plan")
    button, notice = page.get_by_role("button", name="Reconcile now"), page.locator("#notice")
    before = button.bounding_box()
    button.click()
    expect(notice).to_have_text("hive looks at every agent now.")
    assert button.bounding_box() == before
    page.get_by_role("heading", level=1).click()
    expect(notice).to_be_empty()


LOG = """() => {
  const lines = `${'a line of the log that is longer than a phone is wide; '.repeat(2)}\\n`.repeat(40);
  const log = `<pre class="log" tabindex="0" role="group" aria-label="Log">${lines}why</pre>`;
  document.querySelector('main').insertAdjacentHTML('beforeend', log);
}"""
SHOWN = """log => {
  const last = document.createRange(), box = log.getBoundingClientRect();
  last.setStart(log.lastChild, log.lastChild.length - 3);
  last.setEnd(log.lastChild, log.lastChild.length);
  const end = last.getBoundingClientRect(), shown = end.top > box.top && end.bottom < box.bottom;
  return [log.scrollHeight > box.height + 1, shown, log.scrollWidth <= box.width];
}"""
"""Whether the log is longer than its box, whether its last word is in the box, and whether all of its lines fit in."""


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_the_log_of_a_step_shows_its_end_and_the_whole_of_each_line(visit: Visit, size: Size) -> None:
    page = visit("/plan", size=size)
    page.evaluate(LOG)
    assert page.locator("pre.log").evaluate(SHOWN) == [True, True, True]


def test_what_the_host_s_checks_found_is_accessible_and_fits_a_phone(visit: Visit) -> None:
    page = visit("/host", size="phone")
    page.get_by_role("button", name="Examine now").first.click()
    page.get_by_text(re.compile("checks? passed")).click()
    expect(page.get_by_role("table", name="Checks that passed")).to_be_visible()
    assert overflow(page) + axe(page) == []


def test_a_page_whose_session_was_ended_leads_to_the_login_page_and_can_be_read_on(
    visit: Visit, site: Site, lab: Lab, complaints: Complaints
) -> None:
    complaints.expect("401")
    page = visit("/login", known=False)
    name, value = site.log_in()
    page.context.add_cookies([{"name": name, "value": value, "url": site.origin}])
    page.goto("/plan")
    expect(page.locator("#link-state")).to_have_text(re.compile("^Live"))
    newest = max(row["id"] for row in lab.get("/api/dashboard/sessions"))
    assert lab.hive("dashboard", "revoke", str(newest)).code == 0
    notice = page.locator("#notice")
    expect(notice.get_by_role("link", name="Log in in another tab")).to_have_attribute("href", "/login")
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_be_empty()
