"""An agent is logged in where it waits: the steps of the login take the place of its button."""

from __future__ import annotations

import pytest

from meta.names import AgentName
from reconciler.views import LoginResult
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page, faults_of

ALICE = AgentName("alice")
CODE = "abc#secret"


async def test_the_address_of_a_known_provider_is_a_link_that_says_nothing_of_the_dashboard(ui: Ui) -> None:
    answer = await ui.post("/needs-you/logins/alice")
    page = Page(answer.text)
    assert [part.attributes["hx-target"] for part in page.all("hx-partial")] == ["#notice", "#login-alice"]
    (link,) = page.all("a")
    assert link.attributes["href"] == ui.hive.fake.logins.address
    assert link.attributes["rel"] == "noopener noreferrer"
    assert link.text == "Open claude.ai"
    before, _, _ = answer.text.partition("<a ")
    assert "Log in at <strong>claude.ai</strong>" in before
    assert f'<code class="text">{ui.hive.fake.logins.address}</code>' in before


async def test_an_address_of_nobody_that_hive_knows_is_no_link(ui: Ui) -> None:
    ui.hive.fake.logins.address = "https://evil.example/claude"
    page = Page((await ui.post("/needs-you/logins/alice")).text)
    assert page.all("a") == []
    assert "evil.example" in page.root.text


@pytest.mark.parametrize(("state", "words"), [("done", "alice is logged in"), ("again", "asked for again")])
async def test_a_code_is_passed_on_and_is_in_no_answer(ui: Ui, state: str, words: str) -> None:
    ui.hive.fake.logins.answers = [LoginResult(ALICE, state, "so it is")]
    answer = await ui.post("/needs-you/logins/alice/code", {"login": "l1", "code": CODE})
    assert words in answer.text
    assert CODE not in answer.text
    assert ui.hive.fake.calls == [("login_code", "alice", CODE, "l1")]


async def test_without_javascript_the_next_step_is_a_page_of_its_own(ui: Ui) -> None:
    answer = await ui.client.post("/needs-you/logins/alice")
    page = Page(answer.text)
    assert faults_of(page) == []
    assert [form.attributes["action"] for form in page.all("form")] == [
        "/needs-you/logins/alice/code",
        "/needs-you/logins/alice/cancel",
    ]


async def test_the_ids_of_two_logins_differ_whatever_the_agents_are_called(ui: Ui) -> None:
    answers = [await ui.post(f"/needs-you/logins/{agent}") for agent in ("alice", "alice-code")]
    ids = [set(Page(answer.text).ids) - {"notice"} for answer in answers]
    assert ids[0] and not ids[0] & ids[1]
