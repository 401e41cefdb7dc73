"""A shot: one rendering of a page's regions, and what a browser lacks of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.ui.moment import Moment
from api.ui.page import Feed, Page, Shown
from api.ui.render import Rendered, Templates, digest

_SEEN = re.compile(r"[0-9a-f.]{0,400}")


@dataclass(frozen=True, slots=True)
class Shot:
    """The regions of a page at one version of the changes."""

    version: int
    regions: tuple[Rendered, ...]
    title: str
    shown: Shown

    @property
    def token(self) -> str:
        """The digests of all regions: what a browser has that shows this. It is the id of an event of the stream."""
        return ".".join(region.digest for region in self.regions)

    def lacking(self, seen: str) -> tuple[Rendered, ...]:
        """Return the regions that a browser with the token `seen` does not show as they are."""
        known = seen.split(".") if _SEEN.fullmatch(seen) else []
        if len(known) != len(self.regions):
            return self.regions
        return tuple(region for region, digest in zip(self.regions, known, strict=True) if region.digest != digest)


async def take_feed(feed: Feed[Any], asked: Any, moment: Moment) -> Shot:
    """Read the values of a feed. Raise the view's error."""
    shown = await feed.view(moment, asked)
    text = json.dumps(shown.values)
    return Shot(moment.version, (Rendered(feed.name, text, digest(text)),), "", shown)


async def take(templates: Templates, page: Page[Any], asked: Any, moment: Moment, common: Mapping[str, object]) -> Shot:
    """Read the view and render the regions. `common` are the values that all pages have. Raise the view's error."""
    shown = await page.view(moment, asked)
    values = {**common, **shown.values}
    regions = tuple(templates.region(region.id, region.template, values, moment.at) for region in page.regions)
    return Shot(moment.version, regions, shown.title or page.title, shown)
