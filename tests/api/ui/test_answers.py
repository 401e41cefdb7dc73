"""Whole pages, forms with and without JavaScript, files, and what an error leaves."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from api.ui.live.hub import OF_ONE
from api.ui.pages.agents.view import PAGE
from api.words.users import with_names
from tests.api.ui.conftest import CSRF, Ui
from tests.support.html_page import Page, faults_of


async def test_a_page_has_the_login_s_own_token_in_its_forms(ui: Ui) -> None:
    page = await ui.get("/agents")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f'name="csrf" value="{CSRF}"' in page.text


async def test_a_page_names_the_person_as_whom_it_acts(ui: Ui) -> None:
    page = (await ui.get("/settings")).text
    assert page.count(f"as {with_names('operator uid 1000')}<") == 2
    assert "who-" not in page


async def test_a_form_without_javascript_goes_back_to_its_page(ui: Ui) -> None:
    answer = await ui.client.post(
        "/agents/alice/stop", data={}, headers={"Referer": "http://localhost:8420/agents?q=a"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/agents?q=a")
    assert ui.hive.fake.calls[-1][:2] == ("stop", "alice")


async def test_a_form_with_htmx_gets_a_notice(ui: Ui) -> None:
    answer = await ui.post("/agents/alice/stop")
    assert answer.status_code == 200
    assert '<hx-partial hx-target="#notice"' in answer.text and "alice stops" in answer.text


async def test_an_error_without_javascript_shows_what_was_typed(ui: Ui) -> None:
    answer = await ui.client.post("/agents/nobody/stop", data={"now": "1", "seen": "cb71cf1f"})
    assert answer.status_code == 404
    assert '<dt>now</dt><dd class="text">1</dd>' in answer.text
    assert "cb71cf1f" not in answer.text


async def test_a_browser_keeps_a_file_as_long_as_it_stays_the_same(ui: Ui) -> None:
    now = await ui.get(ui.site.assets.url("style.css"))
    assert "immutable" in now.headers["cache-control"]
    assert (await ui.get("/static/0123/style.css")).headers["cache-control"] == "no-store"


async def test_a_stream_s_once_has_only_the_regions_that_the_browser_lacks(ui: Ui) -> None:
    first = await ui.get("/live/agents?once=1")
    assert first.text.count("<hx-partial") == len(PAGE.regions)
    assert (await ui.get(f"/live/agents?once=1&seen={first.headers['x-seen']}")).text == ""


@pytest.mark.parametrize("path", ["/live/agents", "/needs-you/news"])
async def test_a_login_with_many_live_pages_is_told_to_close_some(ui: Ui, path: str) -> None:
    with ExitStack() as stack:
        for _ in range(OF_ONE):
            stack.enter_context(ui.site.hub.stream("s1"))
        answer = await ui.get(path)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "30"
    assert "live pages open" in answer.text


@pytest.mark.parametrize("path", ["/deploys/alice/x", "/agents/No!", f"/deploys/alice/{'9' * 5_000}"])
async def test_an_address_that_can_be_of_no_page_is_not_found_and_leads_on(ui: Ui, path: str) -> None:
    answer = await ui.get(path)
    assert answer.status_code == 404
    assert "there is no such page" in answer.text and "docs/reference" not in answer.text
    assert {"/plan", "/events", "/host"} <= {link.attributes["href"] for link in Page(answer.text).all("a")}
    assert faults_of(Page(answer.text)) == []
    near = path.split("/")[1]
    assert f'href="/{near}"' in answer.text and 'href="/">Needs you' in answer.text


async def test_a_word_of_an_address_that_no_page_knows_is_left_out(ui: Ui) -> None:
    assert (await ui.get("/agents?find=a&utm=b")).status_code == 200


async def test_a_choice_that_a_page_does_not_offer_is_refused_in_a_short_sentence(ui: Ui) -> None:
    answer = await ui.get("/agents?phase=zzz")
    assert answer.status_code == 400
    assert "phase cannot be &#39;zzz&#39;" in answer.text and len(answer.text) < 3_000
