"""`make screenshots`: every page of the dashboard in both themes and in the widths of a phone and a desk, in build/.

    python -m tests.screenshots docs           the six of docs/images, which README shows
    python -m tests.screenshots [NAME...]      only these pages: needs-you agents agent deploys deploy ...

Two pages are also shown on a wide screen. It prints what axe-core finds, and what does not fit a page; with
such a finding it ends with 1. The pictures are in build/screenshots/PAGE-WIDTH-THEME.png.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.screenshots.orchard import Orchard, orchard
from tests.support.browser import SIZES, Complaints, Scheme, Size, axe, launch, overflow, shape
from tests.support.site import Site, page_paths

OUT = Path("build/screenshots")
WIDE = ("approval", "agent")
"""Pages that are also shown on a wide screen."""
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
DOCS = Path("docs/images")
CHOSEN: tuple[tuple[str, Size, Scheme], ...] = (
    ("needs-you", "desk", "light"),
    ("approval", "desk", "light"),
    ("agents", "desk", "dark"),
    ("agent", "desk", "dark"),
    ("deploy", "desk", "light"),
    ("approval", "phone", "dark"),
)
"""The pictures of the docs: what the window shows, at the card for an approval."""
TALLEST = 4_000
"""Pixels of a picture, at most."""
REST = 700.0
"""Milliseconds until a page has its first push and its charts."""


def shoot(browser: Browser, site: Site, name: str, path: str, size: Size, scheme: Scheme) -> Iterator[str]:
    """Write the picture of a page, and yield what is wrong with it."""
    complaints = Complaints()
    context = browser.new_context(base_url=site.origin, **shape(size, scheme))
    try:
        cookie, value = site.cookie
        context.add_cookies([{"name": cookie, "value": value, "url": site.origin}])
        complaints.watch(context)
        page = context.new_page()
        page.goto(path)
        page.wait_for_timeout(REST)
        page.set_viewport_size({"width": SIZES[size][0], "height": height_of(page, size)})
        page.screenshot(path=OUT / f"{name}-{SIZES[size][0]}-{scheme}.png")
        yield from found(page, complaints)
    finally:
        context.close()


def height_of(page: Page, size: Size) -> int:
    """Return the height of a window that shows the whole page: what sticks to its edges then hides nothing."""
    height = int(page.evaluate("() => document.documentElement.scrollHeight"))
    return max(SIZES[size][1], min(height, TALLEST))


def found(page: Page, complaints: Complaints) -> Iterator[str]:
    """Yield what is wrong with a page as it is now."""
    yield from complaints.unexpected
    yield from (f"does not fit: {one}" for one in overflow(page))
    yield from axe(page)


def show(browser: Browser, made: Orchard, name: str, path: str, size: Size, scheme: Scheme) -> None:
    """Write a picture of the docs."""
    context = browser.new_context(base_url=made.site.origin, **shape(size, scheme))
    cookie, value = made.site.cookie
    context.add_cookies([{"name": cookie, "value": value, "url": made.site.origin}])
    page = context.new_page()
    page.goto(path)
    page.wait_for_timeout(REST)
    if name == "approval":
        page.locator(f"[id='row-proposal:carol:{made.proposal}']").evaluate("one => one.scrollIntoView()")
        page.wait_for_timeout(REST)
    page.screenshot(path=DOCS / f"{name}-{size}.png")
    context.close()


def main(names: list[str]) -> int:
    """Make all pictures."""
    wrong = 0
    with orchard() as made, sync_playwright() as playwright:
        made.site.ready()
        browser = launch(playwright)
        paths = page_paths("alice", ("bob", made.deploy))
        paths["approval"] = f"/?row=proposal:carol:{made.proposal}"
        if names == ["docs"]:
            DOCS.mkdir(parents=True, exist_ok=True)
            for name, size, scheme in CHOSEN:
                show(browser, made, name, paths[name], size, scheme)
            return 0
        OUT.mkdir(parents=True, exist_ok=True)
        for (name, path), size, scheme in itertools.product(paths.items(), SIZES, SCHEMES):
            if (names and name not in names) or (size == "wide" and name not in WIDE):
                continue
            for line in shoot(browser, made.site, name, path, size, scheme):
                wrong += 1
                print(f"{name} {size} {scheme}: {line}", flush=True)  # noqa: T201
        browser.close()
    print(f"{OUT} has the pictures; {wrong} findings")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
