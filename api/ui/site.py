"""What all pages of one daemon have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from api.operations.base import Call, Input
from api.ui.assets import Assets
from api.ui.live.hub import Hub
from api.ui.live.shot import Shot, take
from api.ui.moment import Moment
from api.ui.page import AnyPage, Region
from api.ui.render import Templates
from api.ui.summary import summarise
from meta.config import Config

NAVIGATION = Region("nav", "parts/navigation.html")


@dataclass(frozen=True, slots=True)
class Site:
    """One dashboard. `name` is the hive's, for people who have several. `call` reads for all who look."""

    name: str
    call: Call
    assets: Assets
    templates: Templates
    hub: Hub

    async def take(self, page: AnyPage, asked: Input, moment: Moment) -> Shot:
        """Return a shot of a page with the navigation. Raise the error of its view."""
        return await take(self.templates, page, asked, moment, await self.common(moment, page.section))

    async def common(self, moment: Moment, section: str) -> Mapping[str, object]:
        """Return the values that each template has."""
        return {"hive": self.name, "section": section, "summary": await summarise(moment)}


def make_site(call: Call, config: Config) -> Site:
    """Return the site of a daemon."""
    assets = _assets()
    name = config.dashboard_name or os.uname().nodename.partition(".")[0]
    return Site(name, call, assets, Templates(assets.url), Hub(call))


@cache
def _assets() -> Assets:
    """Return the files for browsers, read and packed once in a process."""
    return Assets()
