"""A person decides in a browser, on a hive with a real daemon: by keys, on a phone, beside another person."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, axe, overflow
from tests.support.lab import Lab

NOTES = """window.notes = [];
document.hasFocus = () => false;
const real = window.Notification;
window.Notification = class extends EventTarget {
  static get permission() { return real.permission; }
  static requestPermission() { return real.requestPermission(); }
  constructor(title, { tag }) { super(); window.notes.push(tag); }
  close() {}
};"""
"""Notes the tags of notifications in a tab that has not the focus: without a desktop nobody sees them."""


@pytest.fixture
def proposed(lab: Lab) -> Iterator[int]:
    """A proposal of alice that waits, as the only one of hers."""
    id = lab.propose('label = "new"\nrecipients = ["bob"]\n')
    yield id
    if lab.card(id, "alice")["status"] == "pending":
        lab.post(f"/api/proposals/{id}/deny", reason="the test is over")


def row_of(page: Page, id: int) -> str:
    """The selector of a proposal's row."""
    return f"[id='row-proposal:alice:{id}']"


def was(id: int) -> str:
    """The selector of the place holder of a proposal's row that has gone."""
    return f"[id='was-row-proposal:alice:{id}']"


def test_a_proposal_that_comes_is_read_and_approved_by_keys_and_its_deploy_is_watched(visit: Visit, lab: Lab) -> None:
    page = visit()
    id = lab.propose('label = "keys"\nrecipients = ["bob"]\n')
    row = page.locator(row_of(page, id))
    expect(row.get_by_text("May write to")).to_be_visible()
    expect(row.get_by_text(re.compile("Approves exactly"))).to_be_visible()
    page.keyboard.press("a")
    expect(row.locator("summary").first).to_be_focused()
    page.keyboard.press("a")  # too soon: the row has just come
    expect(row.get_by_role("alert")).to_contain_text("look again, then decide")
    expect(row.get_by_role("button", name="Approve")).to_be_enabled()
    assert lab.card(id, "alice")["status"] == "pending"
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(row.locator("summary").first).to_be_focused()
    page.keyboard.press("a")
    expect(page.locator("#notice")).to_contain_text(f"Proposal {id} of alice is approved.")
    expect(row).to_have_count(0)
    expect(page.locator(was(id))).to_contain_text(f"approved proposal {id} of alice")
    expect(page.locator(".decided")).to_contain_text(f"Deploy {id} of alice is done")
    lab.settle("alice")
    assert lab.card(id, "alice")["state"] == "deployed"


def test_what_is_typed_and_where_the_focus_is_survive_what_happens_meanwhile(
    visit: Visit, lab: Lab, proposed: int
) -> None:
    page = visit()
    page.keyboard.press("j")
    page.keyboard.press("d")
    reason = page.locator(row_of(page, proposed)).get_by_label("Reason")
    expect(reason).to_be_focused()
    page.keyboard.type("not a jok")  # a, j and k are keys
    asked = lab.post("/api/questions", question="which?", to="alice")  # the operator asks: an event, no row
    second = lab.propose('label = "second"\n', "bob")
    expect(page.locator(f"[id='row-proposal:bob:{second}']")).to_have_count(1)
    page.keyboard.type("e")
    expect(reason).to_have_value("not a joke")
    expect(reason).to_be_focused()
    for key in ("Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(row_of(page, proposed))).to_have_count(0)
    assert lab.card(proposed, "alice")["note"] == "not a joke"
    lab.post(f"/api/proposals/{second}/deny", reason="the test is over")
    lab.post(f"/api/questions/{asked['id']}/cancel")


def test_a_key_never_decides_on_another_proposal_than_the_one_that_has_the_focus(
    visit: Visit, lab: Lab, proposed: int
) -> None:
    newer = lab.propose('label = "another one"\n', "bob")
    page = visit()
    page.locator(row_of(page, proposed)).locator("summary").first.focus()
    place, other = page.locator(was(proposed)), page.locator(f"[id='row-proposal:bob:{newer}']")
    expect(other.get_by_role("button", name="Approve")).to_be_enabled()
    lab.post(f"/api/proposals/{proposed}/deny", reason="somebody was quicker")
    expect(place).to_contain_text(f"denied proposal {proposed} of alice: somebody was quicker")
    expect(place.locator("summary")).to_be_focused()
    for key in ("a", "d", "a"):
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("j")
    expect(other.locator("summary").first).to_be_focused()
    expect(place).to_have_count(0)
    assert lab.card(newer, "bob")["status"] == "pending"
    lab.post(f"/api/proposals/{newer}/deny", reason="the test is over")


def test_a_key_without_a_focus_chooses_the_first_proposal_and_not_what_stands_above_it(
    visit: Visit, proposed: int
) -> None:
    page = visit()
    page.evaluate("""document.querySelector("#rows > .list").insertAdjacentHTML(
      "afterbegin", '<li class="item" id="row-question:1"><details><summary>x</summary></details></li>')""")
    page.keyboard.press("a")
    expect(page.locator(row_of(page, proposed)).locator("summary").first).to_be_focused()


def test_a_click_too_soon_after_the_rows_moved_decides_nothing(visit: Visit, lab: Lab, proposed: int) -> None:
    second = lab.propose('label = "second"\n', "bob")
    page = visit()
    below = page.locator(f"[id='row-proposal:bob:{second}']")
    button = below.get_by_role("button", name="Approve")
    expect(button).to_be_enabled()
    lab.post(f"/api/proposals/{proposed}/deny", reason="not now")
    expect(page.locator(row_of(page, proposed))).to_have_count(0)
    expect(button).to_be_disabled()
    button.click(force=True)
    expect(below.get_by_role("alert")).to_contain_text("look again")
    expect(button).to_be_enabled()
    assert lab.card(second, "bob")["status"] == "pending"
    lab.post(f"/api/proposals/{second}/deny", reason="the test is over")


def test_of_two_people_the_second_is_told_who_decided_and_nothing_is_done_twice(
    visit: Visit, lab: Lab, proposed: int, complaints: Complaints
) -> None:
    slow = visit(java_script_enabled=False)  # its page stays as it is
    quick, other = visit(), visit()
    quick.locator(row_of(quick, proposed)).get_by_role("button", name="Approve").click()
    expect(other.locator(row_of(other, proposed))).to_have_count(0)
    expect(other.locator(".decided")).to_contain_text(f"approved proposal {proposed} of alice")
    complaints.expect("409")
    slow.locator(row_of(slow, proposed)).get_by_role("button", name="Approve").click()
    expect(
        slow.get_by_text(re.compile(f"Proposal {proposed} of alice was approved by operator .* meanwhile"))
    ).to_be_visible()
    lab.settle("alice")


def test_what_was_done_is_said_though_its_form_has_gone_before_the_answer_came(
    visit: Visit, lab: Lab, proposed: int
) -> None:
    page = visit()
    approve = page.locator(row_of(page, proposed)).get_by_role("button", name="Approve")

    def held(route: Route) -> None:
        answer = route.fetch()
        expect(approve).to_have_count(0)
        route.fulfill(response=answer)

    page.route("**/approve", held)
    approve.click()
    expect(page.locator("#notice")).to_contain_text(f"Proposal {proposed} of alice is approved.")
    lab.settle("alice")


def test_a_card_fits_a_phone_and_is_accessible_with_its_dialogs(visit: Visit, proposed: int) -> None:
    page = visit(size="phone", scheme="dark")
    row = page.locator(row_of(page, proposed))
    expect(row.get_by_role("button", name="Approve")).to_be_in_viewport()
    assert overflow(page) + axe(page) == []
    row.get_by_role("button", name="Deny…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert overflow(page) + axe(page) == []


def test_the_bar_that_decides_never_covers_the_head_of_its_card(visit: Visit, proposed: int) -> None:
    page = visit(size="phone")
    row = page.locator(row_of(page, proposed))
    head = row.get_by_role("heading", name="Why", exact=False).first.bounding_box()
    assert head is not None
    below = head["y"] + head["height"]
    page.set_viewport_size({"width": 360, "height": round(below) + 80})
    bar = row.locator(".decide").bounding_box()
    assert bar is not None and bar["y"] >= below


def test_a_browser_that_wants_it_is_notified_of_what_is_new_by_one_of_its_tabs(visit: Visit, lab: Lab) -> None:
    page = visit("/settings", permissions=["notifications"])
    page.context.add_init_script(NOTES)
    page.reload()
    page.get_by_role("button", name="Notify me in this browser").click()
    expect(page.get_by_text("This browser notifies you.")).to_be_visible()
    other = page.context.new_page()
    other.goto("/plan")  # the tab that was looked at last
    expect(other.locator("#link-state")).to_have_text(re.compile("^Live"))
    id = lab.propose('label = "news"\n')
    other.wait_for_function("tag => notes.includes(tag)", arg=f"proposal:alice:{id}")
    assert page.evaluate("notes") == []
    lab.post(f"/api/proposals/{id}/deny", reason="the test is over")
