"""Chromium for tests: where it is, how big its windows are, what its pages complain of, and what axe finds in them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, WebError

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build/axe/axe.min.js"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
Size = Literal["phone", "desk", "wide"]
Scheme = Literal["light", "dark"]
SIZES: dict[Size, tuple[int, int]] = {"phone": (360, 800), "desk": (1280, 800), "wide": (2560, 1440)}
LEAST = 5_000.0
"""Milliseconds that a look at a page may take: two busy cores are shared by three tests."""
_REPORT = """addEventListener('securitypolicyviolation', event =>
  console.error(`policy: ${event.violatedDirective} blocked ${event.blockedURI} ${event.sample}`))"""
_WIDE = """() => {
  const page = document.documentElement, width = page.clientWidth;
  const wide = one => one.getBoundingClientRect().right > width + 1;
  return page.scrollWidth <= width ? [] : [...document.querySelectorAll('body *')]
    .filter(one => wide(one) && !wide(one.parentElement) && !one.closest('[tabindex="0"]'))
    .map(one => `${one.tagName.toLowerCase()}#${one.id} ${one.textContent.trim().slice(0, 40)}`);
}"""
_CROSSED = """() => {
  const laid = new Set(['grid', 'inline-grid', 'flex', 'inline-flex', 'table-row']);
  const floats = new Set(['absolute', 'fixed', 'sticky']);
  const style = one => getComputedStyle(one);
  // Heads of tables on a phone are only read aloud.
  const isRead = one => one && (style(one).clipPath !== 'none' || isRead(one.parentElement));
  // What is seen of each text in one part of a row: without what its boxes cut off.
  // What lies above the page does not count: it may hide something.
  const texts = part => {
    const found = [], walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT), range = document.createRange();
    for (let text = walker.nextNode(); text && found.length < 50; text = walker.nextNode()) {
      range.selectNodeContents(text);
      if (!text.data.trim() || !range.getClientRects().length) continue;
      const above = [];
      for (let one = text.parentElement; one && one !== part.parentElement; one = one.parentElement) above.push(one);
      if (above.some(one => floats.has(style(one).position))) continue;
      for (const {left, top, right, bottom} of range.getClientRects()) {
        const seen = {left, top, right, bottom, text: text.data.trim().slice(0, 30)};
        for (const one of above.filter(one => style(one).overflow !== 'visible')) {
          const box = one.getBoundingClientRect();
          seen.left = Math.max(seen.left, box.left); seen.right = Math.min(seen.right, box.right);
          seen.top = Math.max(seen.top, box.top); seen.bottom = Math.min(seen.bottom, box.bottom);
        }
        found.push(seen);
      }
    }
    return found;
  };
  const cross = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  const found = new Set();
  for (const row of document.querySelectorAll('main *, nav *')) {
    if (row.children.length < 2 || row.children.length > 40 || !laid.has(style(row).display) || isRead(row)) continue;
    const parts = [...row.children].map(texts);
    parts.forEach((part, place) => parts.slice(place + 1).forEach(other => part.forEach(a => other.forEach(b => {
      if (cross(a, b)) found.add(`over each other: ${a.text} / ${b.text}`);
    }))));
  }
  return [...found];
}"""
"""Finds the texts of one row that are printed over each other, in rows of tables, grids and flexible boxes."""
_RUN = "() => axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)"


def chromium() -> str | None:
    """Return the path of this machine's Chromium; None without one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window. Raise AssertionError without one on this machine.

    It has no sandbox of its own: root cannot use it, nor can a container, and it shows only pages of the test.
    """
    program = chromium()
    assert program is not None, "Chromium is missing: apt-get install chromium"
    return playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])


def shape(size: Size, scheme: Scheme) -> dict[str, Any]:
    """Return the options of a context with a window of this size, in this colour scheme."""
    width, height = SIZES[size]
    phone = size == "phone"
    return {
        "viewport": {"width": width, "height": height},
        "color_scheme": scheme,
        "is_mobile": phone,
        "has_touch": phone,
        "reduced_motion": "reduce",
        "timezone_id": "Europe/Berlin",
        "locale": "en-GB",
    }


class Complaints:
    """What the pages of a test complained of: errors in the console or of scripts, and violations of the policy.

    A violation of the Content-Security-Policy is an error in the console too; the listener adds the directive.
    """

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def expect(self, pattern: str) -> None:
        """Expect complaints that match, such as a failed request in a test that kills the daemon."""
        self._expected.append(re.compile(pattern))

    def watch(self, context: BrowserContext) -> None:
        """Note what the pages of this context complain of, from now on."""
        context.add_init_script(_REPORT)
        context.on("console", self._console)
        context.on("weberror", self._error)

    @property
    def unexpected(self) -> list[str]:
        """The complaints so far that no pattern expects."""
        return [text for text in self._seen if not any(pattern.search(text) for pattern in self._expected)]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._seen.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _error(self, error: WebError) -> None:
        self._seen.append(f"exception: {error.error}")


def axe(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it is now: a line for each place."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_axe_source())  # under the policy a script tag would need to be served by the page's origin
    return [line for violation in page.evaluate(_RUN) for line in _lines(violation)]


def overflow(page: Page) -> list[str]:
    """Return what does not fit the page.

    That is what makes it scroll sideways (the outermost elements that reach beyond the window), and each two texts of
    one row of which one is printed over the other.
    """
    found: list[str] = page.evaluate(_WIDE) + page.evaluate(_CROSSED)
    return found


@cache
def _axe_source() -> str:
    assert AXE.exists(), "axe-core is missing: make assets"
    return AXE.read_text(encoding="utf-8")


def _lines(violation: dict[str, Any]) -> Iterator[str]:
    for node in violation["nodes"]:
        yield f"{violation['id']}: {violation['help']}: {' '.join(map(str, node['target']))}: {node['html'][:200]}"
