"""The rooms of all pages."""

from __future__ import annotations

from api.ui.page import Room
from api.ui.pages.agent.view import AGENT
from api.ui.pages.agent_tabs.view import AGENT_TABS
from api.ui.pages.agents.view import AGENTS
from api.ui.pages.deploys.view import DEPLOYS
from api.ui.pages.diff.view import DIFF
from api.ui.pages.events.view import EVENTS
from api.ui.pages.host.view import HOST
from api.ui.pages.messages.view import MESSAGES
from api.ui.pages.needs_you.view import NEEDS_YOU
from api.ui.pages.plan.view import PLAN
from api.ui.pages.questions.view import QUESTIONS
from api.ui.pages.settings.view import SETTINGS

ROOMS: tuple[Room, ...] = (
    NEEDS_YOU,
    AGENTS,
    AGENT,
    AGENT_TABS,
    MESSAGES,
    QUESTIONS,
    DEPLOYS,
    PLAN,
    EVENTS,
    HOST,
    SETTINGS,
    DIFF,
)
