"""What holds for every page of the registry."""

from __future__ import annotations

import re

import pytest

from api.ui.diff.highlight import Highlighter
from api.ui.page import AnyPage
from api.ui.pages.registry import ROOMS
from meta.model import DeployKind
from meta.names import AgentName
from reconciler.attention.row import Row, Severity
from tests.api.ui.conftest import Ui
from tests.support.fake_service import NOW
from tests.support.html_page import Page, faults_of, headings_in_order

PAGES = [page for room in ROOMS for page in room.pages]
FIELDS = {"agent": "alice", "id": "1", "tab": "inbox"}
PAGE_BYTES = 150_000


def path_of(page: AnyPage) -> str:
    """The path of a page of alice, and of her proposal 1."""
    return re.sub(r"\{(\w+)\}", lambda name: FIELDS[name[1]], page.path)


@pytest.fixture
async def busy(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> Ui:
    """A dashboard of a hive with a proposal of alice that waits. Pages wait for the colours of their code."""
    monkeypatch.setattr(Highlighter.tokens, "__defaults__", (10.0,))
    ui.hive.fake.add()
    ui.hive.fake.add(kind=DeployKind.APPLY_COMMIT)
    return ui


@pytest.mark.parametrize("shown", PAGES, ids=lambda page: page.name)
async def test_a_page_is_well_formed_with_one_heading_and_its_regions(busy: Ui, shown: AnyPage) -> None:
    answer = await busy.get(path_of(shown))
    assert answer.status_code == 200, answer.text
    read = Page(answer.text)
    assert faults_of(read) == []
    assert headings_in_order(read)
    assert [len(read.all(tag)) for tag in ("html", "title", "main")] == [1, 1, 1]
    assert read.all("nav") and read.all("header")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert {region.id for region in shown.regions} <= set(read.ids)
    assert len(answer.content) <= PAGE_BYTES


@pytest.fixture
async def crowded(ui: Ui) -> Ui:
    """A dashboard of 1,000 agents with 300 proposals, 300 questions and messages of a kilobyte each."""
    fake = ui.hive.fake
    fake.names += [AgentName(f"agent-{number}") for number in range(1000)]
    for number in range(300):
        card = fake.add(fake.names[number], description="why " * 200)
        if number % 3:
            fake.move(card.id, "failed" if number % 3 == 1 else "approved", "failed" if number % 3 == 1 else "building")
        await fake.broker.send(fake.names[number + 2], "alice", "word " * 200)
        await fake.questions.ask(fake.names[number + 2], "which? " * 100, ("this", "that"), False, None, None)
    fake.attention_rows = [
        Row(f"{kind}:{id}", kind, Severity.NORMAL, fake.names[2], NOW(), f"{kind} {id}", "why " * 50, "hive status")
        for number in range(100)
        for kind, id in (("proposal", f"{fake.names[number]}:{number + 1}"), ("question", str(number + 1)))
    ]
    return ui


async def test_every_page_of_a_thousand_agents_stays_small(crowded: Ui) -> None:
    for page in PAGES:
        answer = await crowded.get(path_of(page))
        assert (page.name, answer.status_code) == (page.name, 200)
        assert (page.name, len(answer.content) <= PAGE_BYTES) == (page.name, True)
        assert (page.name, faults_of(Page(answer.text))) == (page.name, [])


@pytest.mark.parametrize("shown", PAGES, ids=lambda page: page.name)
async def test_each_region_replaces_itself(busy: Ui, shown: AnyPage) -> None:
    answer = await busy.get(f"/live{path_of(shown).rstrip('/')}?once=1")
    assert answer.status_code == 200, answer.text
    partials = Page(answer.text).all("hx-partial")
    assert [each.attributes["hx-target"] for each in partials] == [f"#{region.id}" for region in shown.regions]
    for partial in partials:
        (root,) = partial.children
        assert f"#{root.attributes['id']}" == partial.attributes["hx-target"]


@pytest.mark.parametrize("shown", PAGES, ids=lambda page: page.name)
async def test_a_page_on_which_nothing_happens_is_sent_nothing(busy: Ui, shown: AnyPage) -> None:
    path = path_of(shown)
    token = re.search('data-token="([^"]*)"', (await busy.get(path)).text)
    assert token is not None
    assert (await busy.get(f"/live{path.rstrip('/')}?once=1&seen={token[1]}")).text == ""
