"""Every page in a browser: nothing is refused by its policy, axe finds nothing, and it fits the window."""

from __future__ import annotations

import pytest

from api.ui.pages.registry import ROOMS
from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Scheme, Size, axe, overflow

PATHS = [page.path.replace("{agent}", "alice") for room in ROOMS for page in room.pages]


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_every_page_is_accessible_and_fits(visit: Visit, size: Size, scheme: Scheme) -> None:
    page, wrong = visit(PATHS[0], size=size, scheme=scheme), {}
    for path in PATHS:
        page.goto(path)
        if found := overflow(page) + axe(page):
            wrong[path] = found
    assert not wrong
