"""The rooms of the tabs."""

from __future__ import annotations

from api.ui.page import Room
from api.ui.pages.agent_tabs import generations, logs, settings

AGENT_TABS = Room(
    pages=(settings.SETTINGS, generations.GENERATIONS, logs.LOGS),
    actions=settings.ACTIONS,
    fragments=generations.FRAGMENTS,
    downloads=logs.DOWNLOADS,
)
