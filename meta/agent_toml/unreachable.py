"""What an agent.toml names and its agent may not reach: workspaces and MCP servers. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from meta.agent_toml.workspace import remote_of
from meta.agent_toml.workspace_words import workspaces_of
from meta.errors import BadInput
from meta.network.rule import canonical_host

UNREACHABLE = "UNREACHABLE: "
"""Begins the words about what cannot work, because the agent may not reach its host."""

_SERVER = re.compile(r"mcp_servers\.([^.]+)\.url")
_LOOPBACK = re.compile(r"localhost|.*\.localhost|127\.[0-9.]+|::1")


def describe_unreachable(settings: Mapping[str, str], is_reachable: Callable[[str, int], bool]) -> list[str]:
    """Return a text for each workspace and each MCP server whose host may not be reached.

    `settings` is as `flatten` returns them.
    """
    return [
        f"{UNREACHABLE}{what}: the agent may not reach {f'[{host}]' if ':' in host else host}:{port}"
        for what, host, port in (*_workspaces(settings), *_servers(settings))
        if not is_reachable(host, port)
    ]


def _workspaces(settings: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    for path, row in sorted(workspaces_of(settings).items()):
        yield f'workspace "{path}"', *remote_of(row["url"])


def _servers(settings: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Yield the servers that are not in the agent itself."""
    for key, url in settings.items():
        match = _SERVER.fullmatch(key)
        if match is None:
            continue
        parts = urlsplit(url)
        try:
            host = canonical_host(parts.hostname or "")
        except BadInput:  # an odd name, which the way out refuses too
            host = (parts.hostname or "").lower()
        if not _LOOPBACK.fullmatch(host):
            yield f"mcp_servers.{match[1]}", host, parts.port or (443 if parts.scheme == "https" else 80)
