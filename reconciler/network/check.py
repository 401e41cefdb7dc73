"""Check what an agent.toml wants to reach against the operator's settings: at a proposal, and before a build."""

from __future__ import annotations

from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput
from meta.network.reach import check_entries
from meta.proposed.settings import read_settings
from reconciler.network.operator import OperatorSettings


def check_reach(settings: AgentSettings, operator: OperatorSettings) -> None:
    """Raise Refused if `network.allow` is beyond the ceiling, or names a group that the operator's file lacks."""
    check_entries(settings.network.allow, operator.file(), operator.ceiling())


async def check_reach_of_text(text: bytes | None, operator: OperatorSettings) -> None:
    """Check an agent.toml. One that is missing or not valid passes: the diff has its fault, no builder takes it."""
    if text is None:
        return
    try:
        settings = await read_settings(text)
    except BadInput:
        return
    check_reach(settings, operator)
