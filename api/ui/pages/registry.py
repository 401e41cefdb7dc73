"""The rooms of all pages."""

from __future__ import annotations

from api.ui.page import Room
from api.ui.pages.agents.view import AGENTS
from api.ui.pages.needs_you.view import NEEDS_YOU

ROOMS: tuple[Room, ...] = (NEEDS_YOU, AGENTS)
