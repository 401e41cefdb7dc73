"""The page of a row: where the dashboard shows more of it. Pure."""

from __future__ import annotations

from urllib.parse import quote

from meta.names import AgentName

OF_AGENTS = "agent-"
"""Kinds that begin so are about the state of an agent. Its page shows that."""


def link(origin: str, kind: str, key: str, agent: AgentName | None) -> str | None:
    """Return the address of the page of a row; None if there is no dashboard (`origin` is "")."""
    if not origin:
        return None
    if kind.startswith(OF_AGENTS) and agent is not None:
        return f"{origin}/agents/{quote(agent, safe='')}"
    if kind == "passkey-copied":
        return f"{origin}/settings"
    return f"{origin}/#row-{quote(key, safe=':')}"
