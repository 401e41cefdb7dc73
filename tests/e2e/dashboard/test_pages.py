"""Every page in a browser: nothing is refused by its policy, axe finds nothing, and it fits the window."""

from __future__ import annotations

import pytest

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Scheme, Size, axe, overflow
from tests.support.site import page_paths

PATHS = page_paths("alice", ("alice", 0))


BIG = "() => { document.documentElement.style.fontSize = '200%' }"
"""Makes text twice as big, as a phone does. On a desk a browser counts such a window as a narrow one."""


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_every_page_is_accessible_and_fits_a_phone_with_big_text_too(visit: Visit, size: Size, scheme: Scheme) -> None:
    page, wrong = visit(size=size, scheme=scheme), {}
    for name, path in PATHS.items():
        page.goto(path)
        if found := overflow(page) + axe(page):
            wrong[name] = found
        if size == "phone":
            page.evaluate(BIG)
            if found := overflow(page):
                wrong[f"{name}, big"] = found
    assert not wrong
