"""What Chromium itself says of the dashboard's first page: its first paint, and how far the layout shifted."""

from __future__ import annotations

from collections.abc import Iterator

from playwright.sync_api import Page, sync_playwright

from tests.bench.figure import Figure, figure
from tests.support.browser import Scheme, Size, chromium, launch, shape
from tests.support.site import Site

LOADS = 10
SETTLED = 1_500.0
"""Milliseconds after which the page has had its first push."""
_OBSERVE = """
window.shifted = 0;
new PerformanceObserver(list => { for (const one of list.getEntries()) window.shifted += one.value; })
  .observe({type: 'layout-shift', buffered: true});
"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"


def trace(site: Site) -> Iterator[Figure]:
    """First paint and layout shift of the first page, on a desk and on a phone."""
    if chromium() is None:
        return
    with sync_playwright() as playwright:
        browser = launch(playwright)
        sizes: tuple[tuple[Size, Scheme], ...] = (("desk", "light"), ("phone", "dark"))
        for size, scheme in sizes:
            paints, shifts = [], []
            for _ in range(LOADS):
                context = browser.new_context(base_url=site.origin, **shape(size, scheme))
                name, value = site.cookie
                context.add_cookies([{"name": name, "value": value, "url": site.origin}])
                context.add_init_script(_OBSERVE)
                paint, shift = _load(context.new_page())
                paints.append(paint)
                shifts.append(shift)
                context.close()
            yield figure(f"dashboard, {size}: first paint, nothing cached", "ms", paints, at_most=300)
            yield figure(f"dashboard, {size}: layout shift", "", shifts, at_most=0)
        browser.close()


def _load(page: Page) -> tuple[float, float]:
    page.goto("/")
    page.wait_for_timeout(SETTLED)
    return float(page.evaluate(_PAINT)), float(page.evaluate("() => window.shifted"))
