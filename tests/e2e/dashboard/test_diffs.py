"""The diff of a proposal in a browser: a fold loads its lines once, both layouts, no fault that axe finds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import axe, overflow
from tests.support.lab import Lab

LINES = "".join(f"# line {number} of a comment\n" for number in range(30))


@pytest.fixture(scope="module")
def proposal(lab: Lab) -> Iterator[int]:
    """A proposal that changes the last line of a longer agent.toml."""
    text = lab.git(lab.applied("bob"), "show", "main:agent.toml")
    lab.deploy(f"{LINES}{text}\n", "bob")
    id = lab.propose(f'{LINES}{text}\nlabel = "<b>bold</b>"\n', "bob")
    yield id
    lab.post(f"/api/proposals/{id}/deny", reason="done")


@pytest.mark.usefixtures("proposal")
def test_a_fold_loads_its_lines_by_the_click_that_opens_it(visit: Visit) -> None:
    page = visit("/")
    fold = page.locator(".diff details.fold").first
    fold.locator("summary").click()
    fold.locator(".ln").first.wait_for()
    assert "# line 0 of a comment" in fold.inner_text()
    assert page.locator(".diff b").count() == 0
    assert axe(page) == []


@pytest.mark.usefixtures("proposal")
def test_side_by_side_is_one_column_on_a_phone(visit: Visit) -> None:
    columns = "() => getComputedStyle(document.querySelector('.diff .pair')).display"
    assert visit("/?split=1").evaluate(columns) == "grid"
    phone = visit("/?split=1", size="phone")
    assert phone.evaluate(columns) == "block"
    assert overflow(phone) == []


def test_two_open_approvals_of_one_file_have_names_of_their_own(visit: Visit, lab: Lab, proposal: int) -> None:
    other = lab.propose('label = "another"\n', "alice")
    page = visit(size="phone")
    for of in (f"proposal {proposal} of bob", f"proposal {other} of alice"):
        expect(page.get_by_role("group", name=f"agent.toml of {of}", exact=True)).to_be_visible()
        assert axe(page) == []
    lab.post(f"/api/proposals/{other}/deny", reason="done")
