"""What holds for every page of the registry."""

from __future__ import annotations

import re

import pytest

from api.ui.page import AnyPage
from api.ui.pages.registry import ROOMS
from meta.model import DeployKind
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page, faults_of, headings_in_order

PAGES = [page for room in ROOMS for page in room.pages]
FIELDS = {"agent": "alice", "id": "1", "tab": "inbox"}
PAGE_BYTES = 150_000


def path_of(page: AnyPage) -> str:
    """The path of a page of alice, and of her proposal 1."""
    return re.sub(r"\{(\w+)\}", lambda name: FIELDS[name[1]], page.path)


@pytest.fixture
async def busy(ui: Ui) -> Ui:
    """A dashboard of a hive with a proposal of alice that waits."""
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
    assert {region.id for region in shown.regions} <= set(read.ids)
    assert len(answer.content) <= PAGE_BYTES


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
