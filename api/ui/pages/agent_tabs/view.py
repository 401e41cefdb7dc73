"""The rooms of the tabs."""

from __future__ import annotations

from api.ui.page import Room
from api.ui.pages.agent_tabs import generations, inbox, logs, network, questions, settings, usage

AGENT_TABS = Room(
    pages=(
        inbox.INBOX,
        questions.QUESTIONS,
        network.NETWORK,
        logs.LOGS,
        generations.GENERATIONS,
        settings.SETTINGS,
        usage.USAGE,
    ),
    actions=(*settings.ACTIONS, *network.ACTIONS, *inbox.ACTIONS),
    fragments=generations.FRAGMENTS,
    downloads=logs.DOWNLOADS,
)
