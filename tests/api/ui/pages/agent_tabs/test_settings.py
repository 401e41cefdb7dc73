"""The settings of an agent: as they are deployed or were, and the edit that becomes a proposal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

from api.ui.diff.highlight import Highlighter
from api.ui.pages.agent_tabs.settings import EDITED, code_of
from meta.errors import BadInput, NotFound
from meta.names import AgentName
from reconciler.proposals import settings_edit
from reconciler.views import Card, SettingsText
from tests.api.ui.conftest import CSRF, Ui
from tests.support.fake_service import SHA
from tests.support.html_page import Page

ALICE = AgentName("alice")
HOSTILE = '</textarea><script>alert(1)</script>"><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target="#nav">\u202e'
PATH = "/agents/alice/settings"


def fail_edits(ui: Ui, error: Exception) -> None:
    """Let every edit fail."""

    async def propose(*_given: object) -> Card:
        raise error

    ui.hive.fake.propose_settings = propose  # type: ignore[assignment]


def form_of(text: str) -> dict[str, str]:
    """The fields of the form of an edit, as a browser would send them."""
    (form,) = [each for each in Page(text).all("form") if each.attributes.get("class") == "fields"]
    fields = {each.attributes["name"]: each.attributes.get("value", "") for each in form.all("input")}
    return {**fields, "text": next(form.all("textarea")).text.removeprefix("\n")}


async def test_the_page_shows_both_files_as_they_are_deployed(ui: Ui) -> None:
    ui.hive.fake.texts[None] = SettingsText(ALICE, "0" * 40, SHA, "label = 'x'\n", "{ pkgs, ... }: {}")
    page = (await ui.get(PATH)).text
    assert "As deployed" in page and SHA[:12] in page
    assert "{ pkgs, ... }: {}" in page and form_of(page)["text"] == "label = 'x'\n"


async def test_the_page_says_who_approved_what_is_shown_and_when(ui: Ui) -> None:
    card = Card(7, ALICE, "update", SHA, SHA, 5, "approved", "deployed", 1_700_000_000, approved_by="operator uid 1000")  # type: ignore[arg-type]

    async def cards(*_asked: object, **_more: object) -> list[Card]:
        return [card]

    ui.hive.fake.cards = cards  # type: ignore[method-assign]
    ui.hive.fake.texts["7"] = SettingsText(ALICE, "0" * 40, SHA, "label = 'x'\n", "")
    page = (await ui.get(f"{PATH}?at=7")).text
    assert "id 7, approved by" in page and "uid 1000" in page and "2023-11-14" in page


async def test_code_has_its_tokens_line_by_line(ui: Ui) -> None:
    text = 'label = "<b>"  # why\n\nrole = "x"\n'
    highlighter = Highlighter(seconds=20.0)
    await code_of(highlighter, {"agent.toml": text})
    await asyncio.gather(*highlighter._asked.values())
    lines = (await code_of(highlighter, {"agent.toml": text}))["agent.toml"]
    await highlighter.close()
    pieces = [[piece for stretch in line.stretches for piece in stretch.pieces] for line in lines]
    assert ["".join(piece.text for piece in line) for line in pieces] == text.splitlines()
    assert any(piece.token for piece in pieces[0])


async def test_the_settings_of_an_older_id_are_not_those_that_are_edited(ui: Ui) -> None:
    ui.hive.fake.texts["4"] = SettingsText(ALICE, "0" * 40, "4" * 40, "label = 'four'\n")
    page = (await ui.get(f"{PATH}?at=4")).text
    assert "As of 4" in page and "This is not what runs" in page
    assert "label = &#39;four&#39;" in re.sub(r"</?span[^>]*>", "", page)  # its tokens may be marked by now
    assert form_of(page)["text"] == 'label = "old"\n'


async def test_an_edit_becomes_a_proposal_based_on_what_was_shown(ui: Ui) -> None:
    fields = form_of((await ui.get(PATH)).text)
    answer = await ui.post(PATH, {**fields, "text": 'label = "new"\r\n', "description": "a name"})
    assert answer.headers["hx-redirect"] == "/?row=proposal%3Aalice%3A1"
    call = ("propose_settings", ALICE, "operator uid 1000", 'label = "new"\n', "a name", "0" * 40)
    assert ui.hive.fake.calls[-1] == call


async def test_a_wrong_edit_says_what_is_wrong_beside_the_text_that_was_typed(ui: Ui) -> None:
    fail_edits(ui, BadInput("agent.toml, line 3: <b>no", "see the reference"))
    answer = await ui.post(PATH, {"text": HOSTILE, "description": "why", "base": "0" * 40, "csrf": CSRF})
    page = Page(answer.text)
    assert form_of(answer.text) == {"csrf": CSRF, "base": "0" * 40, "description": "why", "text": HOSTILE}
    assert "agent.toml, line 3: <b>no" in page.all("strong")[0].text
    assert not [*page.all("b", "script", "img")]


async def test_without_javascript_a_wrong_edit_is_a_page_with_the_form(ui: Ui) -> None:
    fail_edits(ui, BadInput("line 3: no"))
    fields = {"text": "label = 3", "base": "0" * 40, "csrf": CSRF}
    answer = await ui.client.post(PATH, data=fields)
    assert answer.status_code == 200 and form_of(answer.text)["text"] == "label = 3"


def test_an_edit_that_waits_is_known_by_the_source_that_hive_gives_it() -> None:
    assert str(settings_edit.EDITED) == EDITED


async def test_an_edit_that_waits_can_be_replaced(ui: Ui) -> None:
    card = ui.hive.fake.add()
    ui.hive.fake.shown[card.id] = replace(card, source=EDITED)
    given: list[object] = []
    whole: Callable[..., object] = ui.hive.fake.propose_settings

    async def propose(*asked: object) -> object:
        given.append(asked[-1])
        return await whole(*asked)  # type: ignore[misc]

    ui.hive.fake.propose_settings = propose  # type: ignore[assignment]
    fields = form_of((await ui.get(PATH)).text)
    assert fields["replaces"] == "1"
    await ui.post(PATH, {**fields, "text": "a = 1"})
    assert given == [card.id]


async def test_texts_of_agents_stay_texts(ui: Ui) -> None:
    ui.hive.fake.texts[None] = SettingsText(ALICE, "0" * 40, SHA, HOSTILE, HOSTILE)
    ui.hive.fake.move(ui.hive.fake.add(description=HOSTILE).id, "approved", "deployed")
    page = (await ui.get(PATH)).text
    read = Page(page)
    assert not [*read.all("img", "hx-partial")] and not [each for each in read.all("script") if "alert" in each.text]
    assert form_of(page)["text"] == HOSTILE and not re.search("\u202e(?!</textarea>)", page)
    assert "<pre" in page and r"\u202e" in page


async def test_of_an_agent_of_which_nothing_is_deployed_the_page_says_so(ui: Ui) -> None:
    async def text(*_given: object) -> SettingsText:
        raise NotFound("nothing of alice is deployed <b>")

    ui.hive.fake.settings = text  # type: ignore[assignment]
    page = await ui.get(PATH)
    assert page.status_code == 200 and "nothing of alice is deployed &lt;b&gt;" in page.text
    assert "edit-text" not in page.text
