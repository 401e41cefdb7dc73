"""The MCP servers of agent.toml, with the agent's credentials in their headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from harness.runtimes.base import Enclosure, Sink
from meta import own_file
from meta.agent_toml.settings import AgentSettings, McpServer
from meta.agent_toml.values import credentials_in, fill_headers
from meta.errors import Damaged

CREDENTIAL_BYTES = 16 * 1024
"""The longest credential that a header gets."""

_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def usable_servers(settings: AgentSettings, enclosure: Enclosure, sink: Sink) -> dict[str, McpServer]:
    """Return the servers by their name. One whose credential is missing is left out, and that is noted."""
    found: dict[str, McpServer] = {}
    for name, server in settings.mcp_servers.items():
        values = {id: _credential(enclosure.credentials, id) for id in sorted(credentials_in(server.headers))}
        missing = [id for id, value in values.items() if value is None]
        if missing:
            sink.note(f"the MCP server {name} is left out: the agent has no usable credential {', '.join(missing)}")
        else:
            found[name] = _filled(server, {id: value for id, value in values.items() if value is not None})
    return found


def _filled(server: McpServer, credentials: Mapping[str, str]) -> McpServer:
    return server.model_copy(update={"headers": fill_headers(server.headers, credentials)})


def _credential(folder: Path | None, id: str) -> str | None:
    """Return the text of a credential; None if there is none that can stand in a header."""
    if folder is None:
        return None
    try:
        text = own_file.read(folder / id, CREDENTIAL_BYTES, follow=True).decode("ascii").strip()
    except (OSError, ValueError, Damaged):
        return None
    return text if _VALUE.fullmatch(text) else None
