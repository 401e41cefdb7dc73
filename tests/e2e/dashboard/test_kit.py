"""The browser of these tests sees what a page must not do. Without that the others could not fail."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, axe, overflow

INLINE = """() => document.body.insertAdjacentHTML('beforeend', '<p style="color: red" onclick="x()">styled</p>')"""
FAULTY = """() => document.querySelector('main').insertAdjacentHTML('beforeend', '<input><img src="/static/none">')"""
BROAD = """() => document.querySelector('main').insertAdjacentHTML('beforeend', '<input id="broad" size="200">')"""


def test_what_the_policy_blocks_is_a_complaint(page: Page, complaints: Complaints) -> None:
    page.evaluate(INLINE)
    page.wait_for_function("() => document.querySelector('main')")
    assert any("policy: style-src-attr blocked inline" in text for text in complaints.unexpected)
    complaints.expect("Content Security Policy|^error: policy: s(tyle|cript)-src-attr")


def test_an_exception_and_a_failed_request_are_complaints(page: Page, complaints: Complaints) -> None:
    page.evaluate("() => { setTimeout(() => missing(), 0) }")
    page.evaluate("() => fetch('/nowhere')")
    page.wait_for_function("() => true", polling=50)
    assert [text.partition(":")[0] for text in sorted(complaints.unexpected)] == ["error", "exception"]
    complaints.expect("missing is not defined|status of 404")


def test_axe_finds_a_field_without_a_label_and_a_picture_without_words(page: Page, complaints: Complaints) -> None:
    complaints.expect("/static/none")
    page.evaluate(FAULTY)
    assert {line.partition(":")[0] for line in axe(page)} >= {"label", "image-alt"}


def test_what_is_wider_than_a_phone_is_named(visit: Visit) -> None:
    page = visit(size="phone")
    assert overflow(page) == []
    page.evaluate(BROAD)
    assert "input#broad " in overflow(page)


CROSSED = """() => {
  const main = document.querySelector('main');
  main.insertAdjacentHTML('beforeend', '<p class="row"><b>left</b><b id="moved">right</b></p>');
  document.getElementById('moved').style.marginLeft = '-2rem';
}"""


def test_texts_of_a_row_that_are_printed_over_each_other_are_named(visit: Visit) -> None:
    page = visit()
    page.evaluate(CROSSED)
    assert overflow(page) == ["over each other: left / right"]


def test_a_stranger_gets_the_login_page(visit: Visit, complaints: Complaints) -> None:
    complaints.expect("status of 401")
    page = visit("/agents", known=False)
    assert "hive dashboard" in page.inner_text("main")
    assert axe(page) == []
