"""One hive and one Chromium for all tests of this folder. A test fails if a page of it complained.

The fixtures `new_context`, `context` and `page` are pytest-playwright's. Its others live as long as the session: they
keep an event loop running in this thread, in which no asynchronous test can run. So `playwright` and what depends on it
end with this folder here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.support.browser import LEAST, Complaints, Scheme, Size, chromium, launch, shape
from tests.support.lab import Lab, fresh_lab
from tests.support.site import Site, dashboard_settings


class Visit(Protocol):
    """Opens a page in a browser of its own."""

    def __call__(
        self, path: str = "/", *, size: Size = "desk", scheme: Scheme = "light", known: bool = True, **options: Any
    ) -> Page: ...


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if chromium() is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = launch(playwright)
    yield started
    started.close()


@pytest.fixture(scope="package")
def browser_context_args(site: Site) -> dict[str, Any]:
    return {"base_url": site.origin}


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    with fresh_lab("dash", dashboard_settings()) as made:
        made.spawn("alice", "bob")
        yield made


@pytest.fixture(scope="package")
def site(lab: Lab) -> Site:
    made = Site(lab)
    made.ready()
    return made


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    found = Complaints()
    yield found
    assert not found.unexpected


@pytest.fixture
def visit(complaints: Complaints, new_context: Callable[..., BrowserContext], site: Site) -> Visit:
    """Return what opens a page: of the operator who is logged in if `known`, else of a stranger."""

    def opened(
        path: str = "/", *, size: Size = "desk", scheme: Scheme = "light", known: bool = True, **options: Any
    ) -> Page:
        context = new_context(**{**shape(size, scheme), **options})
        context.set_default_timeout(LEAST)
        complaints.watch(context)
        if known:
            name, value = site.cookie
            context.add_cookies([{"name": name, "value": value, "url": site.origin}])
        page = context.new_page()
        page.goto(path)
        return page

    return opened


@pytest.fixture
def page(visit: Visit) -> Page:
    """The start page on a desk."""
    return visit()
