"""No text of an agent becomes an element, an attribute, a link or an event, on any page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.ui.live.stream import message
from api.ui.page import AnyPage
from api.ui.render import Viewer
from tests.api.ui.conftest import Ui
from tests.api.ui.test_every_page import PAGES, path_of
from tests.support.hostile import HOSTILE, TAME, spoil
from tests.support.html_page import Element, Page, faults_of

FOREIGN = {"img", "hive-evil", "iframe", "object", "embed", "base", "style"}
LINKS = ("href", "src", "action", "hx-get", "hx-post")
MARKED = {("span", ""), ("span", "class"), ("span", "title")}
"""What a diff puts around a character without ink, to show it."""
IN_A_FORM = {"agent-settings": {"\u202e", "\u0007", "\r"}}
"""Pages with a text that a form gives back as it is."""
WITHOUT_TEXT = {"new-agent", "diff"}
"""Pages that show no text of an agent."""
FRAGMENTS = (
    *(f"/needs-you/row?key={key}" for key in ("proposal:alice:1", "question:1", "agent-error:alice")),
    "/agents/alice/item?item=log1-3",
    "/agents/alice/turn?turn=log1-1",
    "/agents/alice/rollback",
    "/deploys/alice/1/changes",
    "/messages/1/text",
)


def kinds(page: Page) -> set[tuple[str, str]]:
    """Each element with the name of each of its attributes."""
    return {(each.tag, name) for each in page.all() for name in (*each.attributes, "")}


def foreign(page: Page) -> Iterator[Element]:
    """Yield elements that are not hive's."""
    for each in page.all():
        links = (each.attributes[name] for name in LINKS if name in each.attributes)
        named = any(name.startswith("on") or name == "data-evil" for name in each.attributes)
        if each.tag in FOREIGN or named or any(link[:1] not in "/#?" and link[:8] != "https://" for link in links):
            yield each


def without_ink(text: str) -> set[str]:
    """The characters of a text that cannot be seen, or that a browser obeys; a line feed is none."""
    return {char for char in text if not char.isprintable()} - {"\n"}


@pytest.fixture
async def hostile(ui: Ui) -> Ui:
    await spoil(ui.hive.fake, HOSTILE)
    return ui


@pytest.mark.parametrize("shown", PAGES, ids=lambda page: page.name)
async def test_a_page_has_the_elements_of_hive_only(hostile: Ui, shown: AnyPage) -> None:
    answer = await hostile.get(path_of(shown))
    assert answer.status_code == 200, answer.text
    page = Page(answer.text)
    assert faults_of(page) == []
    assert list(foreign(page)) == [] and not page.all("hx-partial")
    assert without_ink(answer.text) <= IN_A_FORM.get(shown.name, set())
    assert "{{7*7}}" in page.root.text or shown.name in WITHOUT_TEXT or len(shown.regions) == 1


@pytest.mark.parametrize("shown", PAGES, ids=lambda page: page.name)
async def test_a_stream_replaces_the_regions_of_the_page_only(hostile: Ui, shown: AnyPage) -> None:
    page = Page((await hostile.get(f"/live{path_of(shown).rstrip('/')}?once=1")).text)
    partials = page.all("hx-partial")
    assert [each.attributes["hx-target"] for each in partials] == [f"#{region.id}" for region in shown.regions]
    assert list(foreign(page)) == [] and page.faults == []


@pytest.mark.parametrize("path", ["/messages", "/agents/alice", "/agents/alice/settings"])
async def test_no_text_ends_an_event_of_a_stream(hostile: Ui, path: str) -> None:
    """A lone carriage return ends a line of a stream, too."""
    site, room = hostile.site, next(page for page in PAGES if path_of(page) == path)
    asked = room.input.model_validate({"agent": "alice"} if "alice" in path else {})
    shot = await site.take(room, asked, site.hub.moment())
    text = message(shot.lacking(""), shot.token, Viewer("c", "1"))
    assert "evil" in text and "\r" not in text
    assert {line.partition(":")[0] for line in text.split("\n")} == {"id", "data", ""}


@pytest.mark.parametrize("path", FRAGMENTS)
async def test_a_part_that_is_opened_has_the_elements_of_hive_only(hostile: Ui, path: str) -> None:
    answer = await hostile.get(path)
    assert answer.status_code == 200, answer.text
    page = Page(answer.text)
    assert list(foreign(page)) == [] and page.faults == [] and not page.all("hx-partial")
    assert without_ink(answer.text) == set() and "7*7" in page.root.text


async def test_markup_adds_no_kind_of_element_to_those_of_plain_words(ui: Ui) -> None:
    """What the list of foreign elements does not name would be found here."""
    tame: dict[str, set[tuple[str, str]]] = {page.name: set() for page in PAGES}
    for _ in range(2):  # what more rows bring, like a link to those before, is there the second time
        await spoil(ui.hive.fake, TAME)
        for page in PAGES:
            tame[page.name] |= kinds(Page((await ui.get(path_of(page))).text))
        ui.hive.fake.shown.clear()
    assert all(("main", "id") in each for each in tame.values())
    await spoil(ui.hive.fake, HOSTILE)
    for page in PAGES:
        more = kinds(Page((await ui.get(path_of(page))).text)) - tame[page.name]
        assert (page.name, more - MARKED) == (page.name, set())
